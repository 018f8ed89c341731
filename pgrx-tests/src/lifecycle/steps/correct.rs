//! Refunds and adjustments.

use anyhow::Result;
use rand::RngExt;
use uuid::Uuid;

use crate::lifecycle::amounts::usd;
use crate::lifecycle::model::{DirectCharge, Payer, Refund, ceil_nanos};
use crate::lifecycle::walk::{Ended, Walk};

impl Walk<'_> {
    pub fn refund(&mut self) -> Result<Ended> {
        let len = self.world.records.len();
        if len == 0 {
            return Ok(Ended::Well);
        }
        let mut record = self.world.records[self.rng.random_range(len.saturating_sub(60)..len)].clone();
        let tenant = record.payer.tenant;
        let used: Vec<String> =
            self.world.refunds.keys().filter(|(of, _)| *of == tenant).map(|(_, request)| request.clone()).collect();
        let request = self.request(5, &used);
        let left = record.cost - record.refunded;
        let mut amount = match self.rng.random_range(0..8) {
            0 => left + 1,
            1..4 => left,
            _ => self.rng.random_range(0..=left),
        };
        let known = self.world.refunds.get(&(tenant, request.clone())).cloned();
        if let Some(known) = &known
            && self.chance(70)
            && let Some(refunded) = self.world.records.iter().find(|record| record.id == known.record)
        {
            (record, amount) = (refunded.clone(), known.amount);
        }
        let unknown = known.is_none() && self.chance(3);
        let id = if unknown { Uuid::from_u128(3) } else { record.id };
        let sql = format!(
            "select refund_id, refunded_usd, replayed from public.refund_cost('{id}', {}, '{request}', 'a gift')",
            usd(amount)
        );
        let error = match &known {
            _ if unknown => Some("P0002"),
            Some(known) if (known.record, known.amount) != (record.id, amount) => Some("23505"),
            Some(_) => None,
            None if amount > record.cost - record.refunded => Some("22023"),
            None => None,
        };
        let mut row = match self.asked("refund", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        if let Some(known) = known {
            row.is("refund_id", Some(known.id));
            row.money("refunded_usd", Some(amount));
            row.says("replayed", true);
            row.end()?;
            self.count("refund: replayed");
            return Ok(Ended::Well);
        }
        let refund = row.id("refund_id");
        row.money("refunded_usd", Some(amount));
        row.says("replayed", false);
        row.end()?;
        let before = record.cost - record.refunded;
        let nanos = ceil_nanos(before - amount) - ceil_nanos(before);
        let (payer, at) = (record.payer, record.charged_at);
        self.world.change(at, self.now, |world| {
            if let Some(record) = world.records.iter_mut().find(|it| it.id == record.id) {
                record.refunded += amount;
            }
            world.spend(payer, at, nanos);
        });
        self.world.refunds.insert((tenant, request), Refund { id: refund, record: record.id, amount });
        self.count("refund: refunded");
        Ok(Ended::Well)
    }

    pub fn adjust(&mut self) -> Result<Ended> {
        let quota = self.world.quotas[self.rng.random_range(0..self.world.quotas.len())].clone();
        let mut payer = Payer { tenant: quota.tenant, user: quota.user, resource: quota.resource };
        let used: Vec<String> = self
            .world
            .direct_charges
            .keys()
            .filter(|(tenant, request)| *tenant == payer.tenant && request.starts_with("adjust"))
            .map(|(_, request)| request.clone())
            .collect();
        let request = match self.request(5, &used) {
            again if again.starts_with("adjust") => again,
            other => format!("adjust{other}"),
        };
        let amount = self.amount();
        let mut delta = if self.chance(60) { -amount } else { amount / 4 };
        let known = self.world.direct_charges.get(&(payer.tenant, request.clone())).cloned();
        if let Some(known) = &known
            && self.chance(60)
        {
            delta = known.cost;
        }
        let sql = format!(
            "select adjustment_id, current_spend_usd, replayed
             from copilot_internal.adjust_quota('{}', {}, '{request}', 'a gift')",
            quota.id,
            usd(delta)
        );
        let nanos = ceil_nanos(delta);
        let standing = self.world.standing(payer, self.now, self.now);
        let error = match &known {
            Some(known) if (known.payer, known.cost) != (payer, delta) => Some("23505"),
            Some(_) => None,
            None if standing.iter().any(|counted| counted.spent + nanos < 0) => Some("22023"),
            None => None,
        };
        let mut row = match self.asked("adjust", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let spent = standing
            .iter()
            .find(|counted| self.world.quotas[counted.quota].id == quota.id)
            .map_or(0, |counted| counted.spent);
        let id = row.id("adjustment_id");
        row.money("current_spend_usd", Some((spent + if known.is_some() { 0 } else { nanos }) * 1_000));
        row.says("replayed", known.is_some());
        if known.as_ref().is_some_and(|known| known.id != Some(id)) {
            row.wrong(format!("adjustment_id is {id}, not {known:?}"));
        }
        row.end()?;
        if known.is_some() {
            self.count("adjust: replayed");
            return Ok(Ended::Well);
        }
        payer.resource = quota.resource;
        self.world.change(self.now, self.now, |world| world.spend(payer, self.now, nanos));
        self.world.direct_charges.insert((payer.tenant, request), DirectCharge { id: Some(id), payer, cost: delta });
        self.count(if delta < 0 { "adjust: given back" } else { "adjust: charged" });
        Ok(Ended::Well)
    }
}
