//! What changes no figure: checks, the view, and marking what has expired.

use anyhow::{Result, bail};
use uuid::Uuid;

use crate::lifecycle::amounts::{picos, quoted, usd};
use crate::lifecycle::model::{Payer, ReservationState, ceil_nanos};
use crate::lifecycle::walk::{Ended, Walk};

impl Walk<'_> {
    pub fn maintain(&mut self) -> Result<Ended> {
        let limit = self.pick(&[1, 3, 20, 10_000]);
        let sql = format!("select sum(done) filter (where task = 'expire') from copilot_internal.maintain({limit})");
        let mut row = match self.asked("maintain", &sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let now = self.now;
        let mut expired: Vec<(i64, Uuid)> = self
            .world
            .holds
            .iter()
            .filter(|hold| hold.state == ReservationState::Held && hold.expires_at <= now)
            .map(|hold| (hold.expires_at, hold.id))
            .collect();
        expired.sort();
        expired.truncate(limit as usize);
        row.is("expired", Some(expired.len()));
        row.end()?;
        for (expired_at, id) in &expired {
            *self.active_expiry = (*self.active_expiry).min(*expired_at);
            self.world.change_hold(*id, |hold| hold.state = ReservationState::Expired);
        }
        self.count(if expired.is_empty() { "maintain: nothing expired" } else { "maintain: marked expired" });
        Ok(Ended::Well)
    }

    /// What a check tells: every figure of the quota that it tells about.
    pub fn check(&mut self) -> Result<Ended> {
        let payer = self.payer();
        let amount = self.amount();
        let sql = format!(
            "select allowed, retryable, status, limit_usd, current_spend_usd, reserved_usd, remaining_usd
             from public.check_quota_before_operation({}, '{}', {}, {})",
            quoted(payer.tenant),
            payer.resource.name(),
            usd(amount),
            quoted(payer.user)
        );
        let standing = self.world.standing(payer, self.now, self.now);
        let prediction = self.world.judge(&standing, ceil_nanos(amount), self.now);
        let figures = self.figures(&prediction, &standing, 0, 0);
        let mut row = match self.asked("check", &sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", prediction.allowed);
        row.says("retryable", prediction.retryable);
        let columns = [("limit_usd", 0), ("current_spend_usd", 1), ("reserved_usd", 2), ("remaining_usd", 3)];
        self.compare_figures(&mut row, prediction.status, &figures, &columns);
        row.end()?;
        Ok(Ended::Well)
    }

    /// Every row of `metrics.quota_status`; outside of transactions.
    pub fn view(&mut self) -> Result<Ended> {
        let sql =
            "select string_agg(format('%s %s %s %s', q.id, s.limit_usd, s.current_spend_usd, s.reserved_usd), ',')
             from metrics.quota_status s
             join copilot_internal.cost_quotas q on q.scope = s.scope and q.scope_id is not distinct from s.scope_id
              and q.tenant_id is not distinct from s.tenant_id
              and q.resource_type = s.resource_type and q.period = s.period";
        let mut row = match self.asked("view", sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let text = row.next().unwrap_or_default();
        let rows: Vec<Vec<&str>> = text.split(',').map(|row| row.split(' ').collect()).collect();
        if rows.len() != self.world.quotas.len() {
            bail!("metrics.quota_status has {} rows of {} quotas: {text}", rows.len(), self.world.quotas.len());
        }
        for (number, quota) in self.world.quotas.iter().enumerate() {
            let payer = Payer { tenant: quota.tenant, user: quota.user, resource: quota.resource };
            let standing = self.world.standing(payer, self.now, self.now);
            let Some(counted) = standing.iter().find(|counted| counted.quota == number) else { continue };
            let id = quota.id.to_string();
            let shown = rows.iter().find(|row| row[0] == id).map(|row| [picos(row[2]), picos(row[3])]);
            let expected = [counted.spent, counted.held].map(|nanos| Some(nanos * 1_000));
            if shown != Some(expected) {
                bail!("metrics.quota_status shows {shown:?} of {quota:?}, not {expected:?}");
            }
        }
        Ok(Ended::Well)
    }
}
