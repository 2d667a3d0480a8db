//! What the runs came across: a simulation that never gets there shows nothing.

/// How often the interesting things happened over all runs: a simulation that never gets there shows nothing.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) edits: u64,
    pub(crate) crashes: u64,
    pub(crate) hub_restores: u64,
    pub(crate) disk_restores: u64,
    pub(crate) failed_starts: u64,
    pub(crate) refusals: u64,
    pub(crate) new_lives: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) full_wanted: u64,
    pub(crate) late: u64,
    pub(crate) turned_away: u64,
    pub(crate) reports: u64,
}

impl Reached {
    fn counts(&self) -> [u64; 13] {
        let Self {
            edits,
            crashes,
            hub_restores,
            disk_restores,
            failed_starts,
            refusals,
            ..
        } = *self;
        let Self {
            new_lives,
            lost,
            repeated,
            full_wanted,
            late,
            turned_away,
            reports,
            ..
        } = *self;
        [
            edits,
            crashes,
            hub_restores,
            disk_restores,
            failed_starts,
            refusals,
            new_lives,
            lost,
            repeated,
            full_wanted,
            late,
            turned_away,
            reports,
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.edits += other.edits;
        self.crashes += other.crashes;
        self.hub_restores += other.hub_restores;
        self.disk_restores += other.disk_restores;
        self.failed_starts += other.failed_starts;
        self.refusals += other.refusals;
        self.new_lives += other.new_lives;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.full_wanted += other.full_wanted;
        self.late += other.late;
        self.turned_away += other.turned_away;
        self.reports += other.reports;
    }

    pub(crate) fn check(&self) {
        assert!(
            self.counts().iter().all(|count| *count > 0),
            "something never happened: {self:#?}"
        );
    }
}
