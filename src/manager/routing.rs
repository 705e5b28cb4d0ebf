//! The routing snapshot: where a join of each region goes if the desk has no time to be asked, and
//! what to watch while a relay is on its way.

use std::collections::BTreeMap;

use adaptation::region::{Region, Route};

use super::lease::Tenure;

/// Where joins go now. Once taken it never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Routing {
    /// Base URL of the primary.
    pub primary: String,
    /// A full round of heartbeats was heard.
    pub ready: bool,
    /// Whether this manager decides.
    pub tenure: Tenure,
    /// What was decided for each known region, and the base URL that follows from it.
    pub regions: BTreeMap<Region, (Route, String)>,
}

impl Routing {
    /// The base URL of the node that serves `region`; the primary serves whoever is not listed.
    pub fn node_for(&self, region: &Region) -> &str {
        let known = self.regions.get(region);
        known.map_or(&self.primary, |(_, url)| url)
    }
}
