//! What is known of one key: how busy it is, and the tokens in hand.

use std::time::{Duration, Instant};

use ratelimit_core::Decision;

use crate::stores::Grant;

/// Longest that tokens are held, and so longest that a reset goes unnoticed.
pub(super) const HELD_MAX: Duration = Duration::from_secs(1);
/// A key is hot from so many requests in [`HEAT_PERIOD`] on. What is asked less often would mostly waste its tokens.
const HOT: u64 = 10;
/// The time over which requests are counted.
const HEAT_PERIOD: Duration = Duration::from_millis(250);

/// What is known of a key.
pub(super) struct Key {
    heat: Heat,
    lease: Option<Lease>,
    /// A request is under way that asks for tokens. Were all to ask that find none, far more would be taken than is spent.
    pub asking: bool,
}

/// What was paid for one charge.
#[derive(Clone, Copy)]
pub(super) struct Paid {
    pub decision: Decision,
    /// How long the tokens are good.
    pub until: Instant,
}

/// Counts requests and what they cost.
struct Heat {
    since: Instant,
    now: Asked,
    before: Asked,
}

/// What was asked for in a [`HEAT_PERIOD`].
#[derive(Clone, Copy, Default)]
struct Asked {
    requests: u64,
    cost: u64,
}

/// Tokens in hand.
struct Lease {
    tokens: u64,
    told: Decision,
    since: Instant,
    until: Instant,
}

impl Key {
    /// A key that nobody has asked for.
    pub fn new(now: Instant) -> Self {
        Self {
            heat: Heat { since: now, now: Asked::default(), before: Asked::default() },
            lease: None,
            asking: false,
        }
    }

    /// Throws tokens away whose time is over; how many.
    pub fn lose(&mut self, now: Instant) -> u64 {
        self.lease.take_if(|lease| now >= lease.until).map_or(0, |lease| lease.tokens)
    }

    /// Throws all tokens away; how many.
    pub fn lose_all(&mut self) -> u64 {
        self.lease.take().map_or(0, |lease| lease.tokens)
    }

    /// Pays a request out of the tokens in hand, if they are enough. A cost of 0 asks whether 1 could pass.
    pub fn pay(&mut self, cost: u64, now: Instant) -> Option<Paid> {
        let lease = self.lease.as_mut().filter(|lease| lease.tokens >= cost.max(1))?;
        lease.tokens -= cost;
        self.heat.count(cost, now);
        Some(Paid { decision: lease.tell(now), until: lease.until })
    }

    /// Tokens that will most likely be spent in time, unless somebody asks for them already.
    pub fn ask(&mut self, cost: u64, most: u64, now: Instant) -> u64 {
        self.heat.count(cost, now);
        let wanted = if self.asking { 0 } else { self.heat.wanted().min(most) };
        self.asking |= wanted > 0;
        wanted
    }

    /// Adds to the tokens in hand, all of which are then good for as long as the first of them; how many are lost.
    pub fn take(&mut self, grant: Grant, told: Decision, asked: Instant) -> u64 {
        let lost = self.lose(asked);
        // Counted from before they were asked, so that this clock can't be late.
        let until = asked + grant.good_for.min(HELD_MAX);
        let held = self.lease.take().filter(|held| held.tokens > 0);
        let (tokens, until) = held.map_or((0, until), |held| (held.tokens, held.until.min(until)));
        self.lease = Some(Lease { tokens: tokens + grant.tokens, told, since: asked, until });
        lost
    }

    /// Takes back what was paid, unless it would be good for longer now; how much is lost.
    pub fn put_back(&mut self, cost: u64, until: Instant) -> u64 {
        match self.lease.as_mut().filter(|lease| lease.until <= until) {
            Some(lease) => {
                lease.tokens += cost;
                0
            }
            None => cost,
        }
    }
}

impl Heat {
    fn count(&mut self, cost: u64, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= HEAT_PERIOD {
            self.before = if age < 2 * HEAT_PERIOD { self.now } else { Asked::default() };
            (self.since, self.now) = (now, Asked::default());
        }
        self.now.requests += 1;
        self.now.cost = self.now.cost.saturating_add(cost);
    }

    fn wanted(&self) -> u64 {
        let is_hot = self.now.requests.max(self.before.requests) >= HOT;
        if is_hot { self.now.cost.max(self.before.cost) } else { 0 }
    }
}

impl Lease {
    fn tell(&self, now: Instant) -> Decision {
        let age = now.saturating_duration_since(self.since);
        Decision {
            allowed: true,
            remaining: self.told.remaining + self.tokens,
            reset_after: self.told.reset_after.saturating_sub(age),
            retry_after: None,
        }
    }
}
