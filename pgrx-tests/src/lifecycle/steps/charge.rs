//! `check_and_record_quota_atomic`.

use anyhow::Result;

use crate::lifecycle::amounts::{quoted, usd};
use crate::lifecycle::model::{DirectCharge, Payer, ceil_nanos};
use crate::lifecycle::walk::{Ended, Walk};

impl Walk<'_> {
    pub fn charge(&mut self) -> Result<Ended> {
        let mut payer = self.payer();
        if self.chance(10) {
            payer = Payer { tenant: None, user: None, ..payer };
        }
        let used: Vec<String> = self
            .world
            .direct_charges
            .keys()
            .filter(|(tenant, request)| *tenant == payer.tenant && !request.starts_with("adjust"))
            .map(|(_, request)| request.clone())
            .collect();
        let request = self.chance(60).then(|| self.request(5, &used));
        let known = request.as_ref().and_then(|it| self.world.direct_charges.get(&(payer.tenant, it.clone()))).cloned();
        let mut amount = self.amount();
        if let Some(known) = &known
            && self.chance(70)
        {
            (payer, amount) = (known.payer, known.cost);
        }
        let (scope, id, of) = match (payer.tenant, payer.user) {
            (None, _) => ("platform", None, None),
            (Some(tenant), None) => ("tenant", Some(tenant), None),
            (tenant, Some(user)) => ("user", Some(user), tenant),
        };
        let sql = format!(
            "select allowed, limit_usd, current_spend_usd, remaining_usd
             from public.check_and_record_quota_atomic('{scope}', {}, {}, '{}', {}, {})",
            quoted(id),
            usd(amount),
            payer.resource.name(),
            quoted(of),
            quoted(request.as_ref())
        );
        let standing = self.world.standing(payer, self.now, self.now);
        let same = known.as_ref().is_some_and(|known| (known.payer, known.cost) == (payer, amount));
        let error = (known.is_some() && !same).then_some("23505");
        let mut row = match self.asked("charge", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let nanos = if known.is_some() { 0 } else { ceil_nanos(amount) };
        let prediction = self.world.judge(&standing, nanos, self.now);
        let allowed = prediction.allowed || known.is_some();
        row.says("allowed", allowed);
        let figures = self.figures(&prediction, &standing, if allowed { nanos } else { 0 }, 0);
        for (name, column) in [("limit_usd", 0), ("current_spend_usd", 1), ("remaining_usd", 3)] {
            row.one_of(name, &figures.iter().map(|figures| figures[column]).collect::<Vec<_>>());
        }
        row.end()?;
        if known.is_none() && allowed {
            self.world.spend(payer, self.now, nanos);
            if let Some(request) = request {
                self.world
                    .direct_charges
                    .insert((payer.tenant, request), DirectCharge { id: None, payer, cost: amount });
            }
        }
        self.count(match (known.is_some(), allowed) {
            (true, _) => "charge: replayed",
            (false, true) => "charge: charged",
            (false, false) => "charge: refused",
        });
        Ok(Ended::Well)
    }
}
