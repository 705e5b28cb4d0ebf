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

  overview(whole) {
    const regions = this.#regions.map((region) => this.#region(region));
    return {
      ready: Date.now() - this.#began > 4_000,
      threshold: THRESHOLD,
      active: true,
      controls: true,
      software: "0.1.0",
      uptime_s: Math.floor((Date.now() - this.#began) / 1000),
      regions,
      nodes: this.#nodes(regions),
      alerts: this.#alerts(),
      ...(whole ? { decisions: this.#decisions } : {}),
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
      region, viewers, relays, state, threshold: THRESHOLD, rise: 0, pinned: null, price: viewers > 70 ? 0.0123 : 0,
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
      heard_ms: 350, launched: false, weight: 1, streams: { demo: total },
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

  #alerts() {
    if (this.#regions.length < 2) return [];
    const source = { node: "primary", region: null, stream: "demo", for_s: 94 };
    return [
      { name: "node-silent", grave: true, node: "relay-praha-1", region: "praha", stream: null, what: "not heard for 8 s", for_s: 8 },
      { name: "on-backup", grave: false, what: "the backup is on the air", ...source },
    ].slice(this.#regions.length < 8 ? 1 : 0);
  }

  /** The past by a formula: 450 steps of two seconds, or 1,440 of a minute. */
  history(day) {
    const [step, length] = day ? [60, 1440] : [2, 450];
    const ago = Array.from({ length }, (_, i) => (length - 1 - i) * step);
    const whole = (value) => Math.max(0, Math.round(value));
    const wave = (one, s) => whole(one.base * (1 + 0.5 * Math.sin(one.phase + s / (day ? 9000 : 160))) * (day ? 1 + 0.6 * Math.sin(s / 26000) : 1));
    const regions = this.#regions.map((one) => {
      const viewers = one.past.viewers.length > 0 && !day ? ago.map((s) => one.past.viewers.at(-1 - s) ?? null) : ago.map((s) => wave(one, s));
      const over = viewers.map((n) => Math.max(0, (n ?? 0) - THRESHOLD));
      return [one.region, { viewers, on_relays: over, egress_bps: viewers.map((n) => (n ?? 0) * PER_VIEWER) }];
    });
    const sum = (key) => ago.map((_, i) => regions.reduce((all, [, one]) => all + (one[key][i] ?? 0), 0));
    const [all, over] = [sum("viewers"), sum("on_relays")];
    const nodes = regions.map(([region, one]) => [
      `relay-${region}-1`,
      { viewers: one.on_relays, egress_bps: one.on_relays.map((n) => n * PER_VIEWER), price: one.on_relays.map(() => 0) },
    ]);
    const rest = all.map((n, i) => n - over[i]);
    if (regions.length > 0) nodes.push(["primary", { viewers: rest, egress_bps: rest.map((n) => n * PER_VIEWER), price: rest.map((n) => (n > 300 ? 0.0123 : 0)) }]);
    return {
      interval_s: step,
      regions: Object.fromEntries(regions),
      nodes: Object.fromEntries(nodes.slice(-128)),
      all: { viewers: all, relays: over.map((n) => Math.ceil(n / 40)), egress_bps: all.map((n) => n * PER_VIEWER) },
    };
  }
}
