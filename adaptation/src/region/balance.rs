//! Whether a region has too few relays or too many, and what is done about it. What time and endings
//! do to nodes is `life`'s business.

use super::{
    Balancer, Moment, Region, What,
    node::{Node, Phase},
    viewers,
};

/// A region at a moment, as it matters for its relays.
struct Sight {
    on_primary: u32,
    total: u32,
    limit: u32,
    /// Relays that take viewers now, and relays on their way.
    serving: usize,
    pending: usize,
    /// How many more have room, on the primary, on relays, and on those on their way.
    room: u32,
    /// Who needs it: those who wait, and who are on nodes that the operator wants drained.
    homeless: u32,
    /// Who will have come by the time that a relay launched now serves.
    ahead: u32,
    pinned: Option<usize>,
    /// Without one of its relays the others had room enough: one that was lost has been found again, say.
    doubled: bool,
}

impl Balancer {
    pub(super) fn balance(&mut self, region: &Region, now: Moment) {
        // Who does not hear the primary knows too little to change anything.
        if !self.ready(now) || self.primary().is_none_or(|node| node.silent) {
            return;
        }
        let mut sight = self.sight(region, now);
        let low = sight.serving > 0 && sight.total <= self.config.low(sight.limit, sight.serving);
        let low = low || (sight.doubled && sight.pending == 0);
        let rested = self.config.cooldown;
        let Some(area) = self.areas.get_mut(region) else {
            return;
        };
        let low = low && sight.ahead == 0 && area.waiting == 0;
        area.low_since = low.then(|| area.low_since.unwrap_or(now));
        let quiet = area.low_since.map(|since| now.saturating_sub(since));
        let free = sight.on_primary < sight.limit && sight.ahead == 0;
        area.free_since = free.then(|| area.free_since.unwrap_or(now));
        if sight.pending == 0 && free {
            area.waiting = 0;
        }
        if sight.wants_more().is_none() {
            area.short = false;
        }
        // Each one that is asked for is room that the next look reckons with.
        while let Some(reason) = sight.wants_more() {
            let reason = reason.tell(region, &sight, self);
            if !self.grow(region, reason, now) {
                return;
            }
            sight = self.sight(region, now);
        }
        let too_many = sight.pinned.is_some_and(|most| sight.serving > most);
        if (too_many && sight.pending == 0) || quiet.is_some_and(|quiet| quiet >= rested) {
            self.shrink(region, &sight, now);
        }
    }

    fn sight(&self, region: &Region, now: Moment) -> Sight {
        let (on_primary, limit) = (self.on_primary(region), self.limit(region));
        let patience = self.config.patience();
        let mut sight = Sight {
            on_primary,
            limit,
            total: self.fleet.viewers(region),
            serving: 0,
            pending: 0,
            room: limit.saturating_sub(on_primary),
            homeless: self.areas.get(region).map_or(0, |area| area.waiting),
            ahead: self.ahead(region),
            pinned: self.pins.get(region).and_then(|pin| pin.relays),
            doubled: self.doubled(region, now),
        };
        for (name, node) in self.fleet.members(region) {
            let serves = node.serves(region);
            if serves && !self.is_open(name) {
                if self.closed.contains(name) {
                    sight.homeless = sight.homeless.saturating_add(node.total());
                }
            } else if serves && node.ready() {
                sight.serving += 1;
                sight.room = sight.room.saturating_add(self.spare(node, now));
            } else if serves && node.pending(patience, now) {
                sight.pending += 1;
                let usual = self.config.relay_viewers.unwrap_or(u32::MAX);
                sight.room = sight.room.saturating_add(usual);
            }
        }
        sight
    }

    /// Whether the emptiest relay that was launched for the region is one too many, by what the others say that they take.
    /// What the operator has set up is meant to be there.
    fn doubled(&self, region: &Region, now: Moment) -> bool {
        let members = self.fleet.members(region);
        let serving = members
            .filter(|(name, node)| node.serves(region) && node.ready() && self.is_open(name));
        let serving: Vec<_> = serving.map(|(_, node)| node).collect();
        let launched = serving.iter().filter(|node| node.launched());
        let Some(emptiest) = launched.min_by_key(|node| node.total()) else {
            return false;
        };
        let others = serving
            .iter()
            .filter(|node| !std::ptr::eq(**node, *emptiest));
        let mut left = None;
        for other in others {
            if other.report.is_none()
                || other.is_ill()
                || other.doubted
                || self.spare(other, now) == 0
            {
                return false;
            }
            let takes = self.capacity(other).unwrap_or(u32::MAX);
            left = Some(left.unwrap_or(0_u32).saturating_add(takes));
        }
        let left = left.map(|left| left.saturating_add(self.limit(region)));
        left.is_some_and(|left| u64::from(self.fleet.viewers(region)) <= u64::from(left) * 7 / 10)
    }

    /// Who will have come to the region by the time that a relay launched now serves.
    fn ahead(&self, region: &Region) -> u32 {
        let area = self.areas.get(region).filter(|_| self.config.ahead);
        area.map_or(0, |area| area.trend.ahead(self.lead()))
    }

    /// From the word until a relay serves and that is known.
    fn lead(&self) -> Moment {
        self.launch_time.unwrap_or(self.config.heartbeat) + self.config.heartbeat / 2
    }

    /// When the primary's egress stays short, its largest region spills before the threshold.
    pub(super) fn press(&mut self, now: Moment) {
        let primary = self.primary().filter(|node| !node.silent);
        let report = primary.and_then(|node| node.report.as_ref());
        let price = report.map_or(0.0, |report| report.price);
        if price <= self.config.price || !self.ready(now) {
            self.short_since = None;
            return self.relieve();
        }
        let since = *self.short_since.get_or_insert(now);
        if now.saturating_sub(since) < self.config.cooldown {
            return;
        }
        // Next time another: what this one has on the primary may not be all that is too much.
        self.short_since = Some(now);
        let open = self.areas.iter().filter(|(_, area)| area.pressed.is_none());
        let largest = open
            .map(|(region, _)| (self.on_primary(region), region.clone()))
            .max();
        let Some((on_primary @ 1.., region)) = largest else {
            return;
        };
        let limit = on_primary.min(self.limit(&region));
        if let Some(area) = self.areas.get_mut(&region) {
            area.pressed = Some(limit);
        }
        let reason = format!(
            "the primary's egress has been short for {:?} (price {price:.3}); {region} is the \
             largest part of it and may have no more than {} there",
            self.config.cooldown,
            viewers(limit)
        );
        self.remark(What::Press, &region, reason);
    }

    /// A region without relays needs no limit of its own once there is egress again. (One with
    /// relays keeps it until they have drained, else its viewers would go to and fro.)
    fn relieve(&mut self) {
        for (region, area) in &mut self.areas {
            if area.pressed.is_some() && self.fleet.members(region).next().is_none() {
                area.pressed = None;
            }
        }
    }

    /// Whether a relay was put to use, or is on its way.
    fn grow(&mut self, region: &Region, mut reason: String, now: Moment) -> bool {
        let draining = self.fleet.members(region);
        // One that was too many stays that.
        let surplus = self.count(Node::employed) > self.config.relays;
        let draining = draining.filter(|(name, node)| {
            node.drains(region) && !node.silent && self.is_open(name) && !surplus
        });
        let fullest = draining.max_by_key(|(_, node)| node.total());
        if let Some(name) = fullest.map(|(name, _)| name.to_owned()) {
            self.turn(&name, Phase::Serving(region.clone()), now);
            reason += "; it is still there, draining";
            self.say(What::Activate, Some(region.clone()), &name, reason);
            return true;
        }
        if self.areas.get(region).is_some_and(|area| area.held(now)) {
            return false;
        }
        let here = self.relays(region);
        let employed = self.count(Node::employed);
        let short = if here >= self.config.most_relays(region) {
            format!("the region has its limit of relays ({here})")
        } else if employed >= self.config.relays && self.make_room(region, now) {
            return false;
        } else if employed >= self.config.relays {
            format!("the limit of relays in all ({employed}) is reached")
        } else if let Some(name) = self.standby(region) {
            self.turn(&name, Phase::Serving(region.clone()), now);
            reason += "; it was in standby";
            self.say(What::Activate, Some(region.clone()), &name, reason);
            return true;
        } else if self.config.launcher {
            self.launch(region, reason, now);
            return true;
        } else {
            "no relay is in standby, and none can be launched".into()
        };
        if let Some(area) = self.areas.get_mut(region).filter(|area| !area.short) {
            area.short = true;
            let reason = format!("{reason}, but {short}; the primary serves them all");
            self.remark(What::Short, region, reason);
        }
        false
    }

    /// A relay that was taken for lost and is not, or that another manager had put to use, may be one too many: the
    /// emptiest goes, of a region that has others if there is one.
    pub(super) fn trim(&mut self, now: Moment) {
        let employed = self.count(Node::employed);
        let leaving = self.count(|node| matches!(node.phase, Phase::Draining(_) | Phase::Retiring));
        let most = self.config.relays;
        if employed <= most || leaving > 0 || !self.ready(now) {
            return;
        }
        if self.primary().is_none_or(|node| node.silent) {
            return;
        }
        let alone = |region: &Region| {
            let others = self.fleet.members(region);
            others
                .filter(|(_, node)| node.serves(region) && node.ready())
                .count()
                < 2
        };
        let serving = self
            .fleet
            .iter()
            .filter_map(|(name, node)| match &node.phase {
                Phase::Serving(region) if node.ready() => Some((name, node, region)),
                _ => None,
            });
        let least = serving.min_by_key(|(_, node, region)| (alone(region), node.total()));
        let Some((name, _, region)) = least else {
            return;
        };
        let (name, region) = (name.clone(), region.clone());
        self.turn(&name, Phase::Draining(region.clone()), now);
        let reason = format!("{employed} relays are in use, and the limit is {most}");
        self.say(What::Drain, Some(region), &name, reason);
    }

    /// A region that needs a relay comes before players that only ask a drained one for the way:
    /// they can be reloaded. Whether a place will be free soon.
    fn make_room(&mut self, region: &Region, now: Moment) -> bool {
        if self.count(|node| node.phase == Phase::Retiring && node.launched()) > 0 {
            return true;
        }
        let points = |node: &Node| matches!(node.phase, Phase::Draining(_)) && node.total() == 0;
        let Some(name) = self.pick(|_, node| points(node), Node::moved) else {
            return false;
        };
        let node = self.fleet.get(&name);
        let (home, moved) = node.map_or((None, 0), |node| (node.region().cloned(), node.moved()));
        let reason = format!(
            "its place is needed for {region}; {} still asked it for the way",
            viewers(moved)
        );
        self.retire(&name, home, reason, now);
        true
    }

    fn launch(&mut self, region: &Region, reason: String, now: Moment) {
        let Some(area) = self.areas.get_mut(region) else {
            return;
        };
        let name = loop {
            area.named += 1;
            let name = match self.config.series {
                Some(series) => format!("relay-{region}-{series}.{}", area.named),
                None => format!("relay-{region}-{}", area.named),
            };
            if self.fleet.get(&name).is_none() {
                break name;
            }
        };
        let node = Node::launching(region.clone(), now);
        self.fleet.insert(name.clone(), node);
        self.say(What::Launch, Some(region.clone()), &name, reason);
    }

    /// A standby node for the region: one set up for it before one set up for none.
    fn standby(&self, region: &Region) -> Option<String> {
        self.pick(
            |name, node| {
                node.phase == Phase::Standby
                    && self.is_open(name)
                    && node.region().is_none_or(|theirs| theirs == region)
            },
            |node| u32::from(node.region().is_none()),
        )
    }

    fn shrink(&mut self, region: &Region, sight: &Sight, now: Moment) {
        if sight.pinned.is_some_and(|least| sight.serving <= least) {
            return;
        }
        let low = self.config.low(sight.limit, sight.serving);
        let doubled = sight.pinned.is_none() && sight.total > low;
        // Whom the operator wants the region on is needed, be anybody there or not.
        let pin = self.pins.get(region).and_then(|pin| pin.node.as_deref());
        let serving = |name: &str, node: &Node| {
            let surplus = (!doubled || node.launched()) && pin != Some(name);
            node.serves(region) && node.ready() && self.is_open(name) && surplus
        };
        let Some(name) = self.pick(serving, Node::total) else {
            return;
        };
        let cooldown = self.config.cooldown;
        let reason = match sight.pinned {
            Some(most) => format!("{region} is pinned to {most} relays"),
            None if doubled => format!(
                "{} relays have room enough for {} of {region}",
                sight.serving - 1,
                viewers(sight.total)
            ),
            None => format!(
                "{} of {region} in all, not above {low} for {cooldown:?}, need {} relays",
                viewers(sight.total),
                sight.serving - 1
            ),
        };
        self.turn(&name, Phase::Draining(region.clone()), now);
        if let Some(area) = self.areas.get_mut(region) {
            if sight.serving == 1 {
                area.pressed = None;
            }
            area.low_since = None;
            area.rests_until = Some(now + cooldown);
            area.proved();
        }
        self.say(What::Drain, Some(region.clone()), &name, reason);
    }

    /// The operator wants the node empty: it drains once its viewers have somewhere to go.
    pub(super) fn empty(&mut self, name: &str, region: &Region, now: Moment) {
        let Some(node) = self.fleet.get(name) else {
            return;
        };
        let primary = self.primary().filter(|node| !node.silent);
        let spare = primary.map_or(0, |_| {
            self.limit(region).saturating_sub(self.on_primary(region))
        });
        let others = self.fleet.members(region).filter(|(other, node)| {
            *other != name && node.serves(region) && self.takes(other, node, now)
        });
        let room = others.fold(spare, |room, (_, node)| {
            room.saturating_add(self.spare(node, now))
        });
        let total = node.total();
        if total > 0 && room < total {
            return;
        }
        self.turn(name, Phase::Draining(region.clone()), now);
        let reason = format!(
            "the operator wants it empty, and its {} have somewhere to go",
            viewers(total)
        );
        self.say(What::Drain, Some(region.clone()), name, reason);
    }

    pub(super) fn count(&self, test: impl Fn(&Node) -> bool) -> usize {
        self.fleet.values().filter(|node| test(node)).count()
    }

    fn pick(
        &self,
        test: impl Fn(&str, &Node) -> bool,
        least: impl Fn(&Node) -> u32,
    ) -> Option<String> {
        self.fleet
            .iter()
            .filter(|(name, node)| !node.silent && test(name, node))
            .min_by_key(|(_, node)| least(node))
            .map(|(name, _)| name.clone())
    }
}

/// Why a region needs one more relay.
#[derive(Clone, Copy)]
enum Need {
    Crowded,
    Ahead,
    Homeless,
    Pinned(usize),
}

impl Sight {
    fn wants_more(&self) -> Option<Need> {
        let crowded = self.on_primary >= self.limit;
        let coming = self.homeless.saturating_add(self.ahead);
        if let Some(least) = self.pinned {
            return (self.serving + self.pending < least).then_some(Need::Pinned(least));
        }
        if crowded && (self.room == 0 || coming > self.room) {
            Some(Need::Crowded)
        } else if self.homeless > self.room {
            Some(Need::Homeless)
        } else if self.ahead > 0
            && coming >= self.room
            && self.total.saturating_mul(2) >= self.limit
        {
            Some(Need::Ahead)
        } else {
            None
        }
    }
}

impl Need {
    fn tell(self, region: &Region, sight: &Sight, balancer: &Balancer) -> String {
        let here = viewers(sight.on_primary);
        let limit = sight.limit;
        let mut reason = match self {
            Self::Crowded => {
                format!("{here} of {region} on the primary reach the threshold of {limit}")
            }
            Self::Homeless => format!(
                "{} of {region} need another place, and there is room for {}",
                viewers(sight.homeless),
                sight.room
            ),
            Self::Pinned(least) => return format!("{region} is pinned to {least} relays"),
            Self::Ahead => {
                let area = balancer.areas.get(region);
                let rise = area.map_or(0.0, |area| area.trend.rise());
                format!(
                    "{} of {region} in all ({} on the primary, whose threshold is {limit}), {rise:.1} more each \
                     second: {} in the {:.1} s that a relay takes, and there is room for {}",
                    viewers(sight.total),
                    sight.on_primary,
                    sight.ahead,
                    balancer.lead().as_secs_f64(),
                    sight.room
                )
            }
        };
        if sight.serving > 0 {
            reason += &format!(", and its relays ({}) are full", sight.serving);
        }
        if sight.pending > 0 {
            reason += &format!(", with {} on their way", sight.pending);
        }
        reason
    }
}
