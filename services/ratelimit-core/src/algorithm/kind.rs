//! The algorithms by name.

/// Which algorithm, without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`FixedWindow`](super::FixedWindow)
    FixedWindow,
    /// [`SlidingWindow`](super::SlidingWindow)
    SlidingWindow,
    /// [`TokenBucket`](super::TokenBucket)
    TokenBucket,
    /// [`LeakyBucket`](super::LeakyBucket)
    LeakyBucket,
    /// [`Quota`](super::Quota)
    Quota,
    /// [`Concurrency`](super::Concurrency)
    Concurrency,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::FixedWindow,
        Self::SlidingWindow,
        Self::TokenBucket,
        Self::LeakyBucket,
        Self::Quota,
        Self::Concurrency,
    ];

    /// The name it has in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindow => "sliding_window",
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
            Self::Quota => "quota",
            Self::Concurrency => "concurrency",
        }
    }

    /// The kind with that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
