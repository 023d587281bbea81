//! What the scripts are given and what they answer, packed: little-endian, numbers as doubles, which hold whole numbers
//! below 2^53 exactly.

use std::time::Duration;

use ratelimit_core::{Algorithm, Decision, algorithm::TokenBucket};

use crate::stores::{Grant, StoreError};

/// Bytes in the making.
#[derive(Debug, Default)]
pub(super) struct Packer(pub Vec<u8>);

impl Packer {
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    /// Places among keys; batches are bounded far below.
    pub fn place(&mut self, place: usize) -> &mut Self {
        self.0.extend(u16::try_from(place).unwrap_or(u16::MAX).to_le_bytes());
        self
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "what is counted is below 2^53, and beyond nothing passes"
    )]
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend((number as f64).to_le_bytes());
        self
    }

    pub fn minus_one(&mut self) -> &mut Self {
        self.0.extend((-1.0_f64).to_le_bytes());
        self
    }

    /// The kind of an algorithm's counter and its parameters, as the header of counters.lua has them. Of a quota, what
    /// only gives back need not know the period.
    pub fn parameters(&mut self, algorithm: &Algorithm, now_us: Option<u64>) -> &mut Self {
        let period_us = || micros(algorithm.period().unwrap_or_default());
        match algorithm {
            Algorithm::FixedWindow(_) => {
                self.byte(WINDOW).number(algorithm.limit()).minus_one().number(period_us())
            }
            Algorithm::Quota(quota) => {
                let (begin_us, end_us) = now_us.map_or((0, 0), |now_us| quota.period_at(now_us));
                self.byte(WINDOW).number(algorithm.limit()).number(begin_us).number(end_us)
            }
            Algorithm::TokenBucket(bucket) => self.bucket(bucket),
            Algorithm::LeakyBucket(bucket) => self.bucket(bucket.as_token_bucket()),
            Algorithm::SlidingWindow(window) => {
                self.byte(SLIDING).number(algorithm.limit()).number(period_us()).number(window.slice_us())
            }
            Algorithm::Concurrency(_) => {
                self.byte(SLOTS).number(algorithm.limit()).number(period_us()).number(0)
            }
        }
    }

    /// As the script tells it, with nothing leased.
    pub fn decision(&mut self, decision: &Decision) -> &mut Self {
        self.byte(u8::from(decision.allowed)).number(decision.remaining);
        self.number(micros(decision.reset_after)).number(micros(decision.retry_after.unwrap_or_default()));
        self.number(0).number(0)
    }

    fn bucket(&mut self, bucket: &TokenBucket) -> &mut Self {
        self.byte(BUCKET).number(bucket.burst()).number(bucket.refill()).number(bucket.per())
    }
}

const WINDOW: u8 = 1;
const BUCKET: u8 = 2;
const SLIDING: u8 = 3;
const SLOTS: u8 = 4;

/// Bytes that are taken apart from their front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacker<'a>(pub &'a [u8]);

impl<'a> Unpacker<'a> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8, StoreError> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    pub fn count(&mut self) -> Result<usize, StoreError> {
        Ok(u16::from_le_bytes(self.take()?).into())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    pub fn number(&mut self) -> Result<u64, StoreError> {
        let number = f64::from_le_bytes(self.take()?);
        if (0.0..EXACT_END).contains(&number) && number.fract() == 0.0 {
            Ok(number as u64)
        } else {
            Err(StoreError::Malformed("not a whole number"))
        }
    }

    /// A decision, and what was leased with it.
    pub fn decision(&mut self) -> Result<(Decision, Option<Grant>), StoreError> {
        let allowed = self.byte()? == 1;
        let (remaining, reset_after) = (self.number()?, self.duration()?);
        let retry_after = Some(self.duration()?).filter(|wait| !wait.is_zero());
        let grant = Grant { tokens: self.number()?, good_for: self.duration()? };
        let decision = Decision { allowed, remaining, reset_after, retry_after };
        Ok((decision, Some(grant).filter(|grant| grant.tokens > 0)))
    }

    fn duration(&mut self) -> Result<Duration, StoreError> {
        Ok(Duration::from_micros(self.number()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StoreError::Malformed("too short an answer"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// 2^53.
const EXACT_END: f64 = 9_007_199_254_740_992.0;

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
