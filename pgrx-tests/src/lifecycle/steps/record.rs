//! `record_llm_cost` and `record_e2b_cost`.

use anyhow::Result;
use rand::RngExt;
use uuid::Uuid;

use crate::lifecycle::amounts::{quoted, usd};
use crate::lifecycle::comparison::Comparison;
use crate::lifecycle::model::{Counted, HOUR, Hold, Payer, Prediction, Record, ReservationState, Resource, ceil_nanos};
use crate::lifecycle::walk::{Ended, Walk};

/// The column that tells a figure of a quota, by its place among them.
const FIGURES: [(&str, usize); 1] = [("remaining_usd", 3)];

/// What is asked for.
struct RecordPlan {
    payer: Payer,
    /// The user that the call names; it may leave them to the reservation.
    spoken: Option<Uuid>,
    provided: Option<i64>,
    request: Option<String>,
    reservation: Option<Uuid>,
    hold: Option<Hold>,
    enforce: bool,
    occurred: Option<i64>,
    wrong_user: bool,
}

impl RecordPlan {
    fn sql(&self) -> String {
        let RecordPlan { payer, spoken, provided, request, reservation, enforce, occurred, .. } = self;
        let (function, what) = match payer.resource {
            Resource::E2b => ("public.record_e2b_cost", "'box', 'a type', 1"),
            _ => ("public.record_llm_cost", "'acme', 'a model', 1, 1"),
        };
        format!(
            "select recorded, cost_record_id, cost_usd, cost_status, replayed, retryable, overrun_usd, quota_status, remaining_usd
             from {function}({}, {what}, p_user_id => {}, p_cost_usd => {}, p_request_id => {},
                 p_reservation_id => {}, p_enforce => {enforce}, p_occurred_at => {})",
            quoted(payer.tenant),
            quoted(*spoken),
            provided.map_or("null".to_string(), usd),
            quoted(request.as_ref()),
            quoted(*reservation),
            occurred.map_or("null".to_string(), |at| format!("to_timestamp({}::numeric / 1000000)", at)),
        )
    }
}

impl Walk<'_> {
    /// `record_llm_cost` or `record_e2b_cost`: plain, enforced, late, or on a reservation.
    pub fn record(&mut self) -> Result<Ended> {
        let plan = self.plan_record();
        let known = self.recorded_before(&plan);
        let at = plan.hold.as_ref().map_or(plan.occurred.unwrap_or(self.now), |hold| hold.reserved_at);
        let present = if known.is_some() { self.now } else { at };
        let standing = self.world.standing(plan.payer, present, self.now);
        let row = match self.asked("record", &plan.sql(), Self::error_of(&plan, known.as_ref()))? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        match known {
            Some(known) => self.record_again(&plan, &known, &standing, row),
            None => self.record_first(plan, at, standing, row),
        }
    }

    fn plan_record(&mut self) -> RecordPlan {
        let mut payer = self.payer();
        let hold = if self.chance(60) { self.any_hold() } else { None };
        let mut wrong_user = false;
        if let Some(hold) = &hold {
            let asked = payer;
            payer = hold.payer;
            if self.chance(5) {
                payer.resource = asked.resource;
            }
            if self.chance(10) {
                payer.user = asked.user;
            }
            wrong_user = matches!((hold.payer.user, payer.user), (Some(held), Some(user)) if held != user);
        }
        let mut provided = match &hold {
            Some(hold) if self.chance(80) => Some(self.cost_near(hold.reserved)),
            Some(_) => None,
            None => Some(self.amount()),
        };
        // Without a hold to estimate by it would have no price.
        if provided.is_none() && hold.as_ref().is_some_and(Hold::is_gone) {
            provided = Some(self.amount());
        }
        let mut reservation = hold.as_ref().map(|hold| hold.id);
        let enforce = self.chance(60);
        let mut occurred = (hold.is_none() && !enforce && self.chance(20))
            .then(|| self.now - self.rng.random_range(0..30) * HOUR - self.rng.random_range(0..HOUR));
        let used: Vec<String> = self
            .world
            .records
            .iter()
            .filter(|record| record.payer.tenant == payer.tenant && record.payer.resource == payer.resource)
            .filter_map(|record| record.request.clone())
            .collect();
        let mut request = (occurred.is_none() && self.chance(70)).then(|| self.request(5, &used));
        let mut spoken = payer.user;
        if reservation.is_some() && self.chance(40) {
            spoken = None;
            wrong_user = false;
        }
        // The same again, also of one that settled a reservation.
        let repeatable: Vec<&Record> =
            self.world.records.iter().filter(|record| record.request.is_some()).rev().take(40).collect();
        let mut hold = hold;
        if !repeatable.is_empty() && self.rng.random_ratio(1, 8) {
            let again = repeatable[self.rng.random_range(0..repeatable.len())].clone();
            (payer, provided, reservation) = (again.payer, again.provided, again.reservation);
            (request, occurred, spoken, wrong_user) = (again.request, None, again.payer.user, false);
            hold = reservation.and_then(|id| self.world.hold(id)).cloned();
            if self.chance(15) {
                provided = provided.map(|cost| cost + 1);
            }
        }
        let effective_user = spoken.or(hold.as_ref().and_then(|hold| hold.payer.user));
        payer.user = effective_user;
        RecordPlan { payer, spoken, provided, request, reservation, hold, enforce, occurred, wrong_user }
    }

    fn recorded_before(&self, plan: &RecordPlan) -> Option<Record> {
        let request = plan.request.as_ref()?;
        let record = self.world.records.iter().find(|record| {
            record.payer.tenant == plan.payer.tenant
                && record.payer.resource == plan.payer.resource
                && record.request.as_ref() == Some(request)
        });
        record.cloned()
    }

    /// The error that must come, if any.
    fn error_of(plan: &RecordPlan, known: Option<&Record>) -> Option<&'static str> {
        let RecordPlan { payer, provided, hold, .. } = plan;
        let fits = hold.as_ref().is_none_or(|hold| hold.payer.resource == payer.resource) && !plan.wrong_user;
        let same = known.is_none_or(|known| (known.payer, known.provided) == (*payer, *provided));
        match known {
            _ if !fits => Some("22023"),
            Some(_) if !same => Some("23505"),
            _ => None,
        }
    }

    /// A replay. A hold that it brings and its record did not settle is let go.
    fn record_again(
        &mut self,
        plan: &RecordPlan,
        known: &Record,
        standing: &[Counted],
        mut row: Comparison,
    ) -> Result<Ended> {
        let mut standing = standing.to_vec();
        if let Some(hold) = &plan.hold
            && known.reservation != Some(hold.id)
            && hold.state == ReservationState::Held
        {
            let now = self.now;
            self.world.change_hold(hold.id, |hold| {
                let expired = hold.has_expired(now);
                hold.state = if expired { ReservationState::Expired } else { ReservationState::Released };
            });
            self.count("record again: lets another hold go");
        }
        let standing = &mut standing;
        let prediction = self.world.judge(standing, 0, self.now);
        row.says("recorded", true);
        row.is("cost_record_id", Some(known.id));
        row.money("cost_usd", Some(known.cost));
        row.is("cost_status", Some(if known.provided.is_some() { "provided" } else { "estimated" }));
        row.says("replayed", true);
        row.says("retryable", false);
        row.money("overrun_usd", Some(0));
        let figures = self.figures(&prediction, standing, 0, 0);
        self.compare_figures(&mut row, prediction.status, &figures, &FIGURES);
        row.end()?;
        self.count("record again: replayed");
        Ok(Ended::Well)
    }

    fn record_first(
        &mut self,
        plan: RecordPlan,
        at: i64,
        mut standing: Vec<Counted>,
        mut row: Comparison,
    ) -> Result<Ended> {
        let RecordPlan { payer, provided, request, reservation, hold, enforce, occurred, .. } = plan;
        let is_gone = hold.as_ref().is_some_and(Hold::is_gone);
        let (hold, reservation) = if is_gone { (None, None) } else { (hold, reservation) };
        let enforce = enforce && !is_gone;
        let cost = provided.or(hold.as_ref().map(|hold| hold.reserved)).unwrap_or_default();
        let nanos = ceil_nanos(cost);
        if let Some(hold) = &hold {
            self.without(&mut standing, hold);
        }
        let prediction = self.world.judge(&standing, nanos, at);
        let recorded = prediction.allowed || !enforce || hold.is_some();
        row.says("recorded", recorded);
        if !recorded {
            return self.record_refused(cost, &prediction, &standing, row);
        }
        let id = row.id("cost_record_id");
        row.money("cost_usd", Some(cost));
        row.is("cost_status", Some(if provided.is_some() { "provided" } else { "estimated" }));
        row.says("replayed", false);
        row.says("retryable", false);
        let settled = hold.as_ref().map(|hold| self.settle(hold, payer, cost));
        match &settled {
            Some(settled) => row.money("overrun_usd", Some(ceil_nanos(settled.overrun) * 1_000)),
            None => row.money("overrun_usd", Some(prediction.overrun * 1_000)),
        }
        let figures = self.figures(&prediction, &standing, nanos, 0);
        self.compare_figures(&mut row, prediction.status, &figures, &FIGURES);
        row.end()?;
        if settled.is_none() {
            self.world.spend(payer, at, nanos);
        }
        self.world.records.push(Record {
            id,
            payer,
            request,
            provided,
            cost,
            reservation,
            charged_at: at,
            refunded: 0,
        });
        self.count(match (&hold, enforce, occurred) {
            _ if is_gone => "record: on a hold that is gone",
            (Some(_), ..) => "record: on a reservation",
            (None, true, _) => "record: enforced",
            (None, false, Some(_)) => "record: of the past",
            _ => "record: plain",
        });
        Ok(Ended::Well)
    }

    fn record_refused(
        &mut self,
        cost: i64,
        prediction: &Prediction,
        standing: &[Counted],
        mut row: Comparison,
    ) -> Result<Ended> {
        row.is("cost_record_id", None::<Uuid>);
        row.money("cost_usd", Some(cost));
        row.is("cost_status", Some("provided"));
        row.says("replayed", false);
        row.says("retryable", prediction.retryable);
        row.money("overrun_usd", Some(0));
        let figures = self.figures(prediction, standing, 0, 0);
        self.compare_figures(&mut row, prediction.status, &figures, &FIGURES);
        row.end()?;
        self.count("record: refused");
        Ok(Ended::Well)
    }
}
