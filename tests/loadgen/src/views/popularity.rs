//! Which snippet is read next.

use anyhow::Context as _;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

/// pgbench wants more than 1.
pub(crate) const ZIPF_EXPONENT: f64 = 1.001;

/// By Zipf's law: the snippet of rank k is read in proportion to 1 / k^[`ZIPF_EXPONENT`].
#[derive(Debug, Clone)]
pub(crate) struct Popularity(WeightedIndex<f64>);

impl Popularity {
    /// Over that many snippets.
    pub(crate) fn zipf(snippets: u32) -> anyhow::Result<Self> {
        let weights = (1..=snippets).map(|rank| f64::from(rank).powf(-ZIPF_EXPONENT));
        Ok(Self(WeightedIndex::new(weights).context("no snippets")?))
    }

    /// The index of a snippet.
    pub(crate) fn draw(&self, rng: &mut StdRng) -> usize {
        self.0.sample(rng)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_first_is_read_about_twice_as_often_as_the_second() {
        let (popularity, mut rng) = (Popularity::zipf(1_000).unwrap(), StdRng::seed_from_u64(1));
        let mut reads = [0_u32; 1_000];
        for _ in 0..100_000 {
            reads[popularity.draw(&mut rng)] += 1;
        }
        let ratio = f64::from(reads[0]) / f64::from(reads[1]);
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
        assert!(reads.iter().sum::<u32>() == 100_000);
    }
}
