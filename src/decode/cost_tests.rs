use super::*;
use crate::decode::noise::hash;

/// Uniform in [0, 1), the same every run.
fn uniform(round: u32, position: u32) -> f64 {
    f64::from(hash(42, round, position)) / 4_294_967_296.0
}

/// A device and a draft made of numbers.
struct World {
    draft_step_s: f64,
    /// Target pass over `m` rows.
    pass_s: fn(usize) -> f64,
    /// Acceptance after so many tokens of text.
    acceptance: fn(u32) -> f64,
}

impl World {
    /// Seconds to make `n` tokens.
    fn run(&self, length: DraftLength, n: u32) -> f64 {
        let mut planner = Planner::new(length, Costs::default());
        for rows in [1, 2, 4, 8] {
            planner.costs.observe_pass(rows, (self.pass_s)(rows));
        }
        planner.costs.observe_draft(1, self.draft_step_s);
        let (mut made, mut seconds, mut round) = (0, 0.0, 0);
        while made < n {
            let choice = planner.choose(MAX_DRAFT_TOKENS);
            let k = choice.num_draft_tokens;
            let alpha = (self.acceptance)(made);
            let accepted = (0..k)
                .take_while(|&i| uniform(made + i as u32, i as u32) < alpha)
                .count();
            let rows = if choice.look_only { 1 } else { k + 1 };
            let (draft_s, pass_s) = (k as f64 * self.draft_step_s, (self.pass_s)(rows));
            seconds += draft_s + pass_s;
            made += if choice.look_only {
                1
            } else {
                accepted as u32 + 1
            };
            planner.observe(&Observed {
                num_draft_tokens: k,
                num_accepted_tokens: accepted,
                draft_s,
                rows,
                pass_s,
            });
            round += 1;
        }
        assert!(round <= n);
        seconds * f64::from(n) / f64::from(made)
    }

    fn oracle(&self, n: u32) -> f64 {
        (0..=MAX_DRAFT_TOKENS)
            .map(|k| self.run(DraftLength::Fixed(k), n))
            .fold(f64::INFINITY, f64::min)
    }
}

const FLAT: fn(usize) -> f64 = |m| 1.0 + 0.03 * (m - 1) as f64;
const STEEP: fn(usize) -> f64 = |m| 1.0 + 0.6 * (m - 1) as f64;

#[test]
fn the_planner_is_near_the_best_fixed_length() {
    for (pass_s, draft_step_s) in [(FLAT, 0.1), (FLAT, 0.02), (STEEP, 0.08)] {
        for acceptance in [(|_| 0.85) as fn(u32) -> f64, |_| 0.6, |_| 0.3, |_| 0.0] {
            let world = World {
                draft_step_s,
                pass_s,
                acceptance,
            };
            let (planner, oracle) = (world.run(DraftLength::Auto, 2_000), world.oracle(2_000));
            let alpha = acceptance(0);
            assert!(
                oracle / planner > 0.95,
                "alpha {alpha}, c {draft_step_s}: {planner} s, best {oracle} s"
            );
        }
    }
}

#[test]
fn a_useless_draft_never_costs_three_percent_of_a_short_reply() {
    for pass_s in [FLAT, STEEP] {
        let world = World {
            draft_step_s: 0.1,
            pass_s,
            acceptance: |_| 0.0,
        };
        let (planner, plain) = (
            world.run(DraftLength::Auto, 256),
            world.run(DraftLength::Fixed(0), 256),
        );
        assert!(plain / planner >= 0.97, "{}", plain / planner);
    }
}

#[test]
fn the_planner_follows_a_text_that_changes_its_character() {
    // Each half wants another length; no fixed one serves both.
    let acceptance = |made: u32| {
        if (made / 400).is_multiple_of(2) {
            0.9
        } else {
            0.1
        }
    };
    let world = World {
        draft_step_s: 0.1,
        pass_s: FLAT,
        acceptance,
    };
    let (planner, oracle) = (world.run(DraftLength::Auto, 2_000), world.oracle(2_000));
    assert!(
        oracle / planner > 0.95,
        "{planner} s, best fixed {oracle} s"
    );
}

#[test]
fn tokens_per_round_follow_the_published_formula() {
    let alpha: f64 = 0.7;
    for k in [1_usize, 3, 7] {
        let n = 40_000_u32;
        let made: usize = (0..n)
            .map(|r| 1 + (0..k).take_while(|&i| uniform(r, i as u32) < alpha).count())
            .sum();
        let want = (1.0 - alpha.powi(k as i32 + 1)) / (1.0 - alpha);
        assert!((made as f64 / f64::from(n) - want).abs() < 0.03, "k = {k}");
    }
}

#[test]
fn costs_between_measurements_lie_on_the_line() {
    let mut costs = Costs::default();
    costs.observe_pass(1, 1.0);
    assert_eq!(
        costs.pass_s(3),
        2.0,
        "half a pass a row until more is known"
    );
    costs.observe_pass(5, 3.0);
    assert_eq!(costs.pass_s(3), 2.0);
    assert_eq!(costs.pass_s(9), 5.0);
}
