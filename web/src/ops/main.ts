//! The operators' page, put together: the feed drives totals, tables and charts.

import { byId, say } from "../shared/dom";
import { bitrate, clock, count, span } from "../shared/format";
import { Chart } from "./chart";
import { Feed } from "./feed";
import { History } from "./history";
import type { Decision, Overview } from "./overview";
import { showDecisions, showNodes, showRegions } from "./tables";

/** The manager keeps as many. */
const DECISIONS = 200;

const feed = new Feed();
const past = new History();
const charts = [
  new Chart(byId("chart-viewers"), byId("more-viewers"), past.viewers, wholeOnly, 5),
  new Chart(byId("chart-egress"), byId("more-egress"), past.egress, bitrate, 1e6),
];
let latest: Overview | null = null;

feed.onoverview = (overview) => {
  latest = overview;
  past.add(overview, Date.now() / 1000);
  show(overview);
};
feed.ondecision = (decision) => {
  if (!latest) return;
  const known = latest.decisions.some((other) => same(other, decision));
  if (!known) latest.decisions = [decision, ...latest.decisions].slice(0, DECISIONS);
  showDecisions(latest.decisions);
};
feed.onlink = showLink;
feed.start();

function show(overview: Overview): void {
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const relays = overview.nodes.filter((node) => node.kind !== "primary");
  const at = (state: string) => relays.filter((node) => node.state === state).length;
  const busy = ["launching", "spilling", "draining"].flatMap((state) => {
    const n = overview.regions.filter((region) => region.state === state).length;
    return n > 0 ? [`${n} ${state}`] : [];
  });
  say(byId("t-viewers"), count(sum(overview.nodes.map((node) => node.viewers))));
  say(byId("t-egress"), bitrate(sum(overview.nodes.map((node) => node.egress_bps))));
  say(byId("t-relays"), count(at("active") + at("draining")));
  say(byId("t-relays-of"), `${count(at("standby"))} standing by`);
  say(byId("t-regions"), count(overview.regions.length));
  say(byId("t-regions-of"), busy.join(", ") || (overview.regions.length > 0 ? "all normal" : "no viewers yet"));
  say(byId("t-viewers-of"), `threshold ${overview.threshold === null ? "–" : count(overview.threshold)}`);
  say(byId("t-egress-of"), `${count(overview.nodes.length)} ${overview.nodes.length === 1 ? "node" : "nodes"}`);
  say(byId("uptime"), `manager up ${span(overview.uptime_s)}`);
  byId("not-ready").hidden = overview.ready || !overview.active;
  byId("standby").hidden = overview.active;
  byId("dry-run").hidden = !overview.dry_run;
  showRegions(overview);
  showNodes(overview);
  showDecisions(overview.decisions);
  if (!document.hidden) for (const chart of charts) chart.draw();
}

function showLink(): void {
  const words = { connecting: "connecting", live: "live", polling: "live, by polling", lost: "not connected" };
  byId("link").dataset["link"] = feed.link;
  say(byId("link-text"), words[feed.link]);
  const lost = feed.link === "lost";
  document.body.dataset["stale"] = String(lost && feed.heardAt !== null);
  byId("lost").hidden = !lost;
  if (!lost) return;
  say(
    byId("lost-text"),
    feed.heardAt === null
      ? "The traffic manager does not answer. This page keeps trying."
      : `Connection lost, showing the last state from ${clock(feed.heardAt)}. This page keeps trying.`,
  );
}

/** There are no half viewers: between whole ones the axis says nothing. */
function wholeOnly(value: number): string {
  return Number.isInteger(value) ? count(value) : "";
}

function same(a: Decision, b: Decision): boolean {
  return a.at === b.at && a.action === b.action && a.region === b.region && a.node === b.node;
}

declare global {
  interface Window {
    spillwayOps: { overview: () => Overview | null; link: () => string };
  }
}
window.spillwayOps = { overview: () => latest, link: () => feed.link };
