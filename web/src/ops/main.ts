//! The operators' page, put together: the feed drives totals, tables and charts; the panel has the controls.

import { byId, say } from "../shared/dom";
import { bitrate, clock, count, span } from "../shared/format";
import { sparkline, trace } from "./cells";
import { Chart } from "./chart";
import { Feed } from "./feed";
import { Decisions, showAlerts } from "./lists";
import { nodeBody, regionBody } from "./managing";
import { showNodes } from "./nodes";
import { isSignedIn, signOut } from "./operator";
import type { Overview } from "./overview";
import { closePanel, openPanel, signedIn } from "./panel";
import { Past, type Span } from "./past";
import { showRegions } from "./regions";
import { watchForm } from "./viewer";

const feed = new Feed();
const pasts: Record<Span, Past> = { "15m": new Past("15m", 2, 15 * 60), "24h": new Past("24h", 60, 24 * 3600) };
const decisions = new Decisions();
let latest: Overview | null = null;
let restartedAt = -Infinity;

const METRICS = {
  egress: { label: bitrate, least: 1e6, unit: "Egress by node" },
  viewers: { label: wholeOnly, least: 5, unit: "Viewers by node" },
  price: { label: (value: number) => value.toPrecision(2), least: 0.1, unit: "Congestion price by node" },
};
type Metric = keyof typeof METRICS;

const byRegion = new Chart(byId("chart-regions"), byId("more-regions"), pasts["15m"].regions, wholeOnly, 5);
const byNode = new Chart(byId("chart-nodes"), byId("more-nodes"), pasts["15m"].nodes.egress, bitrate, 1e6);
const sparks = (["viewers", "egress", "relays"] as const).map((name) => {
  const drawn = sparkline();
  byId(`t-${name}`).parentElement?.append(drawn);
  return { name, drawn };
});
const look = watchForm(() => latest?.controls ?? false);

feed.onoverview = (overview) => {
  const first = latest === null;
  latest = overview;
  const now = Date.now() / 1000;
  for (const past of Object.values(pasts)) past.add(overview, now);
  decisions.add(overview.decisions ?? []);
  if (first || feed.link === "lost") void refetch(false);
  show(overview);
};
feed.ondecision = (decision) => {
  decisions.add([decision]);
  decisions.show(filter("find-decision"));
};
feed.onlink = showLink;
feed.onrestart = () => {
  restartedAt = Date.now();
  void refetch(true);
};
feed.start();

for (const input of document.querySelectorAll<HTMLInputElement>("input[name=span]")) {
  input.addEventListener("change", () => {
    void refetch(false);
    turn();
  });
}
byId("metric").addEventListener("change", turn);
for (const id of ["find-region", "find-node", "find-decision"]) byId(id).addEventListener("input", () => latest && show(latest));
byId("panel-close").addEventListener("click", closePanel);
byId("signed").addEventListener("change", showSigned);
byId("signed").addEventListener("click", () => {
  if (!isSignedIn()) return signedIn("Sign in", showSigned);
  signOut();
  showSigned();
});
showSigned();

/** The past that is looked at, by the switch above the charts. */
function looked(): Past {
  const chosen = document.querySelector<HTMLInputElement>("input[name=span]:checked");
  return pasts[(chosen?.value as Span | undefined) ?? "15m"];
}

async function refetch(again: boolean): Promise<void> {
  await pasts["15m"].fetch(again);
  if (looked().span === "24h" || again) await pasts["24h"].fetch(again);
  if (latest) show(latest);
}

function turn(): void {
  const metric = byId<HTMLSelectElement>("metric").value as Metric;
  const past = looked();
  say(byId("h-nodes-chart"), METRICS[metric].unit);
  byRegion.turn(past.regions, wholeOnly, 5);
  byNode.turn(past.nodes[metric], METRICS[metric].label, METRICS[metric].least);
}

function filter(id: string): string {
  const input = byId<HTMLInputElement>(id);
  return input.hidden ? "" : input.value;
}

function show(overview: Overview): void {
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const relays = overview.nodes.filter((node) => node.kind !== "primary");
  const at = (state: string) => relays.filter((node) => node.state === state).length;
  const busy = ["launching", "spilling", "draining"].flatMap((state) => {
    const n = overview.regions.filter((region) => region.state === state).length;
    return n > 0 ? [`${n} ${state}`] : [];
  });
  say(byId("t-viewers"), count(sum(overview.nodes.map((node) => node.viewers))));
  say(byId("t-viewers-of"), `threshold ${overview.threshold === null ? "–" : count(overview.threshold)} a region`);
  say(byId("t-egress"), bitrate(sum(overview.nodes.map((node) => node.egress_bps))));
  say(byId("t-egress-of"), `${count(overview.nodes.length)} ${overview.nodes.length === 1 ? "node" : "nodes"}`);
  say(byId("t-relays"), count(at("active") + at("draining")));
  say(byId("t-relays-of"), `${count(at("standby"))} standing by`);
  say(byId("t-regions"), count(overview.regions.length));
  say(byId("t-regions-of"), busy.join(", ") || (overview.regions.length > 0 ? "all normal" : "no viewers yet"));
  for (const { name, drawn } of sparks) trace(drawn, pasts["15m"].all[name].columns.get("") ?? [], 1);
  say(byId("uptime"), `manager ${overview.software} up ${span(overview.uptime_s)}`);
  byId("not-ready").hidden = overview.ready || !overview.active;
  byId("standby").hidden = overview.active;
  byId("dry-run").hidden = !overview.dry_run;
  byId("restarted").hidden = Date.now() - restartedAt > 60_000;
  byId("signed").hidden = !overview.controls;
  showAlerts(overview.alerts);
  showRegions(overview, pasts["15m"], filter("find-region"), manageRegion);
  showNodes(overview, filter("find-node"), manageNode);
  decisions.show(filter("find-decision"));
  if (document.hidden) return;
  byRegion.draw();
  byNode.draw();
}

function manageRegion(name: string): void {
  const region = latest?.regions.find((one) => one.region === name);
  if (!latest || !region) return;
  const overview = latest;
  openPanel(`Region ${name}`, overview.controls, () => regionBody(region, overview, () => soon(() => manageRegion(name))));
}

function manageNode(name: string): void {
  const node = latest?.nodes.find((one) => one.node === name);
  if (!latest || !node) return;
  const explained = (viewer: string) => {
    closePanel();
    look(viewer);
    byId("viewer-id").scrollIntoView({ block: "start" });
  };
  openPanel(`Node ${name}`, latest.controls, () => nodeBody(node, () => soon(() => manageNode(name)), explained));
}

/** When what was said has been done, for who still looks. */
function soon(show: () => void): void {
  window.setTimeout(() => byId<HTMLDialogElement>("panel").open && show(), 1_500);
}

function showSigned(): void {
  say(byId("signed"), isSignedIn() ? "Sign out" : "Sign in");
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

declare global {
  interface Window {
    spillwayOps: { overview: () => Overview | null; link: () => string };
  }
}
window.spillwayOps = { overview: () => latest, link: () => feed.link };
