//! Invented regions and nodes whose numbers move like a real evening, for the operators' page.
//!
//! It spills with the rule of thumb "more viewers on the primary than the threshold"; the real
//! rule lives in the `adaptation` crate and is not imitated here.

const NAMES = [
  "paris", "berlin", "madrid", "oslo", "wien", "lisboa", "roma", "praha", "athina", "dublin", "riga", "sofia",
  "tokyo", "osaka", "seoul", "mumbai", "delhi", "lima", "bogota", "quito", "austin", "boston", "miami", "denver",
];
const THRESHOLD = 30;
const PER_VIEWER = 2_300_000;
const KEPT = 900;

export class Fleet {
  watchers = new Set();
  #began = Date.now();
  #decisions = [];
  #regions;

  constructor(count) {
    this.#regions = Array.from({ length: count }, (_, i) => ({
      region: i < NAMES.length ? NAMES[i] : `region-${i + 1}`,
      phase: i * 1.7,
      base: 8 + ((i * 37) % 60),
      relays: 0,
      past: { viewers: [], egress_bps: [] },
    }));
    for (let second = -KEPT; second < 0; second += 1) this.#step(Date.now() + second * 1000);
  }

  tick() {
    this.#step(Date.now());
    for (const watcher of this.watchers) watcher.overview();
  }

  overview(withHistory) {
    const regions = this.#regions.map((region) => this.#region(region));
    return {
      ready: Date.now() - this.#began > 4_000,
      threshold: THRESHOLD,
      uptime_s: Math.floor((Date.now() - this.#began) / 1000),
      regions,
      nodes: this.#nodes(regions),
      decisions: this.#decisions,
      ...(withHistory ? { history: this.#history() } : {}),
    };
  }

  #step(now) {
    for (const region of this.#regions) {
      const wave = Math.sin(now / 90_000 + region.phase) + 0.35 * Math.sin(now / 17_000 + 2 * region.phase);
      region.viewers = Math.max(0, Math.round(region.base * (1 + 0.6 * wave)));
      region.past.viewers = [...region.past.viewers, region.viewers].slice(-KEPT);
      region.past.egress_bps = [...region.past.egress_bps, region.viewers * PER_VIEWER].slice(-KEPT);
      const wanted = Math.ceil(Math.max(0, region.viewers - THRESHOLD) / 40);
      if (wanted > region.relays) this.#decide(region, now, "launch", `${region.viewers} viewers pass the threshold of ${THRESHOLD}`);
      if (wanted < region.relays && region.viewers < THRESHOLD * 0.7) {
        this.#decide(region, now, "drain", `${region.viewers} viewers fit on the primary again`);
      } else if (wanted < region.relays) continue;
      region.relays = wanted;
    }
  }

  #decide(region, now, action, reason) {
    const node = `relay-${region.region}-${Math.max(region.relays, 1)}`;
    const decision = { at: new Date(now).toISOString(), region: region.region, node, action, reason };
    this.#decisions = [decision, ...this.#decisions].slice(0, 200);
    for (const watcher of this.watchers) watcher.decision(decision);
  }

  #region({ region, viewers, relays }) {
    const onPrimary = relays > 0 ? Math.min(viewers, THRESHOLD) : viewers;
    const state = relays === 0 ? "normal" : viewers < THRESHOLD ? "draining" : "spilling";
    return {
      region, viewers, relays, state, threshold: THRESHOLD,
      on_primary: onPrimary, on_relays: viewers - onPrimary, egress_bps: viewers * PER_VIEWER,
    };
  }

  #nodes(regions) {
    if (regions.length === 0) return [];
    const total = regions.reduce((sum, region) => sum + region.on_primary, 0);
    const common = { software: "0.1.0", uptime_s: Math.floor((Date.now() - this.#began) / 1000) + 4000 };
    const primary = {
      ...common, node: "primary", kind: "primary", region: null, state: "active", url: "http://192.0.2.1:8080",
      viewers: total, egress_bps: total * PER_VIEWER, budget_bps: 1_000_000_000, price: total > 300 ? 0.0123 : 0,
      heard_ms: 350, launched: false, streams: { demo: total },
    };
    const relays = regions.flatMap((region, r) =>
      Array.from({ length: Math.max(region.relays, r % 5 === 0 ? 1 : 0) }, (_, i) => {
        const viewers = region.relays > 0 ? Math.round(region.on_relays / region.relays) : 0;
        return {
          ...common, node: `relay-${region.region}-${i + 1}`, kind: "relay", region: region.region,
          state: region.relays === 0 ? "standby" : region.state === "draining" ? "draining" : "active",
          url: `http://192.0.2.${10 + r}:8080`, viewers, egress_bps: viewers * PER_VIEWER, budget_bps: null,
          price: 0, heard_ms: r % 11 === 7 ? 8_400 : 200 + 150 * (r % 9), launched: i > 0, streams: { demo: viewers },
        };
      }),
    );
    return [primary, ...relays];
  }

  #history() {
    const regions = Object.fromEntries(this.#regions.map(({ region, past }) => [region, past]));
    return { interval_s: 1, from: new Date(Date.now() - KEPT * 1000).toISOString(), regions };
  }
}
