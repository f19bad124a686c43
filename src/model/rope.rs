//! A rope's configuration -> the angles its pairs turn by.
//!
//! Formulas as `transformers.modeling_rope_utils` has them, worked out in `f64` and
//! rounded once.

use crate::backend::plan::{Rope, RopePairing};
use crate::error::{Code, Error, Result};

/// Rotary embedding of one layer as the checkpoint describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// How many leading dimensions of a head rotate.
    pub n_rot: usize,
    /// Which dimensions pair up.
    pub pairing: RopePairing,
    /// Pair `i` turns by `theta^(-2i / n_rot)` a position, before scaling.
    pub theta: f64,
    /// How the angles are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// How a rope's angles are stretched for contexts longer than it was trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All angles divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// The base grows with the context (NTK-aware, dynamic).
    Dynamic {
        /// As in the file.
        factor: f64,
        /// Contexts up to this long are not scaled.
        original_tokens: f64,
    },
    /// Low frequencies divided by `factor`, high ones kept, a ramp between (Llama 3.1).
    Llama3 {
        /// Divides low frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// The context it was trained on.
        original_tokens: f64,
    },
    /// YaRN (<https://arxiv.org/abs/2309.00071>).
    Yarn {
        /// Divides low frequencies.
        factor: f64,
        /// The context it was trained on.
        original_tokens: f64,
        /// Rotations over the original context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which it is divided by `factor`.
        beta_slow: f64,
        /// Whether the ramp's ends are rounded outwards to whole pairs.
        truncate: bool,
        /// Multiplies cosine and sine; resolved from the file's fields.
        magnitude: f64,
    },
    /// A divisor a pair, one list for short contexts and one for long
    /// (<https://arxiv.org/abs/2402.13753>).
    LongRope {
        /// For contexts up to `original_tokens`: `[n_rot / 2]`.
        short: Vec<f64>,
        /// For longer ones: `[n_rot / 2]`.
        long: Vec<f64>,
        /// The context it was trained on.
        original_tokens: f64,
        /// Multiplies cosine and sine; resolved from the file's fields.
        magnitude: f64,
    },
    /// A divisor a pair: GGUF's `rope_freqs.weight`, `[n_rot / 2]`.
    Divisors(Vec<f64>),
}

/// YaRN's recommended magnitude for a factor.
pub fn yarn_magnitude(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}

/// LongRoPE's recommended magnitude for a factor.
pub fn long_rope_magnitude(factor: f64, original_tokens: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / original_tokens.ln()).sqrt()
    }
}

impl RopeSpec {
    /// The rope for sequences of at most `context_tokens`.
    ///
    /// # Errors
    /// `config_invalid` where a list of divisors has another length than there are
    /// pairs, or an angle does not come out finite.
    pub fn resolve(&self, context_tokens: usize) -> Result<Rope> {
        let n_rot = self.n_rot as f64;
        let n_pairs = self.n_rot / 2;
        let context = context_tokens as f64;
        let angles = |theta: f64| -> Vec<f64> {
            (0..n_pairs)
                .map(|i| theta.powf(-2.0 * i as f64 / n_rot))
                .collect()
        };
        let mut angles_plain = angles(self.theta);
        let mut magnitude = 1.0;
        match &self.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                angles_plain.iter_mut().for_each(|angle| *angle /= factor);
            }
            RopeScaling::Dynamic {
                factor,
                original_tokens,
            } => {
                if context > *original_tokens {
                    let growth = factor * context / original_tokens - (factor - 1.0);
                    angles_plain = angles(self.theta * growth.powf(n_rot / (n_rot - 2.0)));
                }
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_tokens,
            } => {
                for angle in &mut angles_plain {
                    // Rotations over the original context.
                    let turns = original_tokens * *angle / std::f64::consts::TAU;
                    if turns < *low_freq_factor {
                        *angle /= factor;
                    } else if turns <= *high_freq_factor {
                        let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        *angle = (1.0 - keep) * *angle / factor + keep * *angle;
                    }
                }
            }
            RopeScaling::Yarn {
                factor,
                original_tokens,
                beta_fast,
                beta_slow,
                truncate,
                magnitude: yarn,
            } => {
                magnitude = *yarn;
                // The (fractional) pair that turns `rotations` times over the original context.
                let pair_at = |rotations: f64| {
                    n_rot * (original_tokens / (rotations * std::f64::consts::TAU)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (pair_at(*beta_fast), pair_at(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(n_rot - 1.0));
                if low == high {
                    high += 0.001;
                }
                for (i, angle) in angles_plain.iter_mut().enumerate() {
                    let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    *angle = *angle / factor * ramp + *angle * (1.0 - ramp);
                }
            }
            RopeScaling::LongRope {
                short,
                long,
                original_tokens,
                magnitude: long_rope,
            } => {
                magnitude = *long_rope;
                let is_long = context > *original_tokens;
                divide(&mut angles_plain, if is_long { long } else { short })?;
            }
            RopeScaling::Divisors(divisors) => divide(&mut angles_plain, divisors)?,
        }
        let inv_freq: Vec<f32> = angles_plain.iter().map(|&angle| angle as f32).collect();
        let magnitude = magnitude as f32;
        if !magnitude.is_finite() || inv_freq.iter().any(|angle| !angle.is_finite()) {
            let detail = "the rope's parameters do not give finite angles";
            return Err(Error::new(Code::ConfigInvalid, "rope_scaling", detail));
        }
        Ok(Rope {
            n_rot: self.n_rot,
            pairing: self.pairing,
            inv_freq,
            magnitude,
        })
    }
}

/// Divides each angle by its divisor.
fn divide(angles: &mut [f64], divisors: &[f64]) -> Result<()> {
    if angles.len() != divisors.len() {
        let detail = format!(
            "{} factors for {} rotating pairs",
            divisors.len(),
            angles.len()
        );
        return Err(Error::new(Code::ConfigInvalid, "rope_scaling", detail));
    }
    for (angle, divisor) in angles.iter_mut().zip(divisors) {
        *angle /= divisor;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> RopeSpec {
        RopeSpec {
            n_rot: 8,
            pairing: RopePairing::Halved,
            theta: 10_000.0,
            scaling,
        }
    }

    #[test]
    fn plain_angles_are_powers_of_the_base() {
        let rope = rope(RopeScaling::None).resolve(64).unwrap();
        assert_eq!(rope.inv_freq, [1.0, 0.1, 0.01, 0.001]);
        assert_eq!(rope.magnitude, 1.0);
    }

    #[test]
    fn long_factors_are_for_long_contexts_only() {
        let spec = rope(RopeScaling::LongRope {
            short: vec![1.0; 4],
            long: vec![2.0; 4],
            original_tokens: 64.0,
            magnitude: 1.5,
        });
        assert_eq!(spec.resolve(64).unwrap().inv_freq[0], 1.0);
        let long = spec.resolve(65).unwrap();
        assert_eq!(long.inv_freq[0], 0.5);
        assert_eq!(long.magnitude, 1.5);
    }

    #[test]
    fn dynamic_scaling_leaves_the_trained_context_alone() {
        let spec = rope(RopeScaling::Dynamic {
            factor: 4.0,
            original_tokens: 64.0,
        });
        let plain = rope(RopeScaling::None).resolve(64).unwrap();
        assert_eq!(spec.resolve(64).unwrap(), plain);
        assert!(spec.resolve(128).unwrap().inv_freq[3] < plain.inv_freq[3]);
    }

    #[test]
    fn a_list_of_factors_of_the_wrong_length_is_an_error() {
        let spec = rope(RopeScaling::Divisors(vec![1.0; 3]));
        assert_eq!(spec.resolve(64).unwrap_err().code(), Code::ConfigInvalid);
        let spec = rope(RopeScaling::Divisors(vec![0.0; 4]));
        assert_eq!(spec.resolve(64).unwrap_err().code(), Code::ConfigInvalid);
    }
}
