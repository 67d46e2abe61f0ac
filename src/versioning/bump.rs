//! What a release raises.

use semver::Version;

/// Which number goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Level {
    /// 1.2.3 to 1.2.4.
    Patch,
    /// 1.2.3 to 1.3.0.
    Minor,
    /// 1.2.3 to 2.0.0.
    Major,
}

impl Level {
    /// The word for it in inputs and reasons.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The version after `base`, which is stable. `None` where a number would not fit 64 bits.
    pub fn after(self, base: &Version) -> Option<Version> {
        Some(match self {
            Self::Patch => Version::new(base.major, base.minor, base.patch.checked_add(1)?),
            Self::Minor => Version::new(base.major, base.minor.checked_add(1)?, 0),
            Self::Major => Version::new(base.major.checked_add(1)?, 0, 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_goes_up_and_the_lower_ones_start_again() {
        let base = Version::new(1, 2, 3);
        assert_eq!(Level::Patch.after(&base), Some(Version::new(1, 2, 4)));
        assert_eq!(Level::Minor.after(&base), Some(Version::new(1, 3, 0)));
        assert_eq!(Level::Major.after(&base), Some(Version::new(2, 0, 0)));
        assert_eq!(Level::Patch.after(&Version::new(0, 0, u64::MAX)), None);
    }
}
