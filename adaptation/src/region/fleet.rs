//! All nodes by name, and what they come to by region. A change goes through [`Fleet::alter`],
//! so that the sums are those of the nodes at any time and a join need not add them up.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use serde::{Deserialize, Serialize};

use super::{
    Moment, Region,
    node::{Node, Phase},
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Fleet {
    nodes: BTreeMap<String, Node>,
    sums: Sums,
    primary: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums(BTreeMap<Region, Sum>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    /// Viewers on all nodes that are alive, with those on their way.
    viewers: u64,
    /// Nodes that serve the region, or drain from it.
    members: BTreeSet<String>,
}

impl Fleet {
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn iter(&self) -> btree_map::Iter<'_, String, Node> {
        self.nodes.iter()
    }

    pub(super) fn values(&self) -> btree_map::Values<'_, String, Node> {
        self.nodes.values()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn primary(&self) -> Option<(&str, &Node)> {
        let name = self.primary.as_deref()?;
        Some((name, self.nodes.get(name)?))
    }

    /// Nodes that serve `region`, or drain from it, in order of their names.
    pub(super) fn members(&self, region: &Region) -> impl Iterator<Item = (&str, &Node)> {
        let sum = self.sums.0.get(region);
        let names = sum.into_iter().flat_map(|sum| &sum.members);
        names.filter_map(|name| Some((name.as_str(), self.nodes.get(name)?)))
    }

    /// Viewers of `region` on all nodes that are alive, with those on their way.
    pub(super) fn viewers(&self, region: &Region) -> u32 {
        let sum = self.sums.0.get(region).map_or(0, |sum| sum.viewers);
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    /// Nobody of the region is anywhere, and no node is for it.
    pub(super) fn idle(&self, region: &Region) -> bool {
        !self.sums.0.contains_key(region)
    }

    /// In place of whatever was known under that name.
    pub(super) fn insert(&mut self, name: String, node: Node) {
        self.remove(&name);
        if node.is_primary() {
            self.primary = Some(name.clone());
        }
        self.sums.put_in(&name, &node);
        self.nodes.insert(name, node);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.sums.take_out(name, &node);
            if self.primary.as_deref() == Some(name) {
                self.primary = None;
            }
        }
    }

    pub(super) fn alter<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Node) -> T,
    ) -> Option<T> {
        let node = self.nodes.get_mut(name)?;
        self.sums.take_out(name, node);
        let outcome = change(node);
        self.sums.put_in(name, node);
        Some(outcome)
    }

    /// So many viewers of `region` are on their way to `name`. Joins are many, so the sum is kept by hand.
    pub(super) fn expect(&mut self, name: &str, region: &Region, viewers: u32, now: Moment) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.expect(region, viewers, now);
        if node.counts() {
            self.sums.of(region).viewers += u64::from(viewers);
        }
    }

    /// What does not change the sums.
    pub(super) fn each(&mut self, change: impl FnMut(&mut Node)) {
        self.nodes.values_mut().for_each(change);
    }

    /// What the sums should be.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut sums = Sums::default();
        for (name, node) in &self.nodes {
            sums.put_in(name, node);
        }
        assert_eq!(sums, self.sums);
    }
}

impl Sums {
    fn of(&mut self, region: &Region) -> &mut Sum {
        self.0.entry(region.clone()).or_default()
    }

    fn put_in(&mut self, name: &str, node: &Node) {
        for (region, viewers) in node.viewers_by_region() {
            self.of(region).viewers += u64::from(viewers);
        }
        if let Phase::Serving(region) | Phase::Draining(region) = &node.phase {
            self.of(region).members.insert(name.to_owned());
        }
    }

    fn take_out(&mut self, name: &str, node: &Node) {
        let mut less = |region: &Region, viewers: u32, member: bool| {
            let Some(sum) = self.0.get_mut(region) else {
                return;
            };
            sum.viewers = sum.viewers.saturating_sub(viewers.into());
            if member {
                sum.members.remove(name);
            }
            if sum.viewers == 0 && sum.members.is_empty() {
                self.0.remove(region);
            }
        };
        for (region, viewers) in node.viewers_by_region() {
            less(region, viewers, false);
        }
        if let Phase::Serving(region) | Phase::Draining(region) = &node.phase {
            less(region, 0, true);
        }
    }
}
