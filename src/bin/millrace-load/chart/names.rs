//! Names along x: level where each has room, else turned by 45 degrees, and cut or thinned out where
//! there is no room for that either.
//!
//! Entry points: [`Names::new`], [`Names::shown`].

use super::{LEFT, LETTER, RIGHT, WIDTH};

/// Room that a turned name takes along x, and a level one beside its letters.
const SPACE: f64 = 18.0;
/// How far down, or left, a step along a turned name leads.
const SLOPE: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// The names of the categories as they are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Names {
    names: Vec<String>,
    is_turned: bool,
    /// Of so many names the first is written.
    every: usize,
}

impl Names {
    pub(super) fn new(names: &[String]) -> Self {
        let slot = (WIDTH - LEFT - RIGHT) / names.len().max(1) as f64;
        let is_turned = names.iter().any(|name| width(name) + SPACE > slot);
        if !is_turned {
            return Self { names: names.to_vec(), is_turned, every: 1 };
        }
        // The first begins left of its slot and ends in the middle of it.
        let room = (LEFT + slot / 2.0) / SLOPE;
        let touch = |every: &usize| *every as f64 * slot < SPACE;
        let every = (1..=names.len()).take_while(touch).count() + 1;
        Self { names: names.iter().map(|name| cut(name, room)).collect(), is_turned, every }
    }

    /// What is written, with the number of its category.
    pub(super) fn shown(&self) -> impl Iterator<Item = (usize, &String)> {
        self.names.iter().enumerate().step_by(self.every)
    }

    /// What they take below the first line of an axis.
    pub(super) fn height(&self) -> f64 {
        let longest = self.names.iter().map(|name| width(name)).fold(0.0, f64::max);
        if self.is_turned { longest * SLOPE } else { 0.0 }
    }

    /// Anchor and attributes of a name at a place.
    pub(super) fn style(&self, (x, y): (f64, f64)) -> (&'static str, String) {
        if self.is_turned {
            ("end", format!("transform=\"rotate(-45 {x:.1} {y:.1})\""))
        } else {
            ("middle", String::new())
        }
    }
}

fn width(name: &str) -> f64 {
    name.chars().count() as f64 * LETTER
}

/// What has room of a name, with dots where that is not all.
fn cut(name: &str, room: f64) -> String {
    if width(name) <= room {
        return name.to_owned();
    }
    let has_room = |(index, _): &(usize, char)| (index + 2) as f64 * LETTER <= room;
    let mut cut: String = name.chars().enumerate().take_while(has_room).map(|(_, it)| it).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize, letters: usize) -> Names {
        let name = |n: usize| format!("{n:x>letters$}");
        Names::new(&(0..count).map(name).collect::<Vec<String>>())
    }

    #[test]
    fn names_are_level_where_each_has_room_and_turned_elsewhere() {
        let level = names(4, 12);
        assert_eq!((level.is_turned, level.height(), level.shown().count()), (false, 0.0, 4));
        assert_eq!(level.style((1.0, 2.0)), ("middle", String::new()));
        let turned = names(8, 12);
        assert_eq!((turned.is_turned, turned.shown().count()), (true, 8));
        assert!((turned.height() - 12.0 * LETTER * SLOPE).abs() < 1e-9);
        assert_eq!(turned.style((1.0, 2.0)), ("end", "transform=\"rotate(-45 1.0 2.0)\"".into()));
    }

    #[test]
    fn names_are_cut_at_the_page_and_thinned_out_where_they_would_touch() {
        for count in [1, 2, 7, 40, 45, 200, 5000] {
            let names = names(count, 300);
            let slot = (WIDTH - LEFT - RIGHT) / count as f64;
            let first = LEFT + slot / 2.0;
            assert!(names.height() <= first, "{count}: begins left of the page");
            assert!(names.names.iter().all(|name| name.ends_with('…')), "{count}");
            let between = names.every as f64 * slot;
            assert!((SPACE..SPACE + slot).contains(&between) || names.every == 1, "{count}");
            assert!(between >= SPACE, "{count}: names touch");
            assert_eq!(names.shown().next().map(|(index, _)| index), Some(0));
        }
        assert_eq!(cut("größer", 6.1 * LETTER), "größer");
        assert_eq!(cut("größer", 5.1 * LETTER), "größ…");
    }

    #[test]
    fn no_names_take_no_room() {
        let none = Names::new(&[]);
        assert_eq!((none.height(), none.shown().count()), (0.0, 0));
    }
}
