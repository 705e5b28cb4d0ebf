//! Regions, nodes and decisions as rows. Rows are kept by key, so reading is not disturbed.

import { byId, make, reconcile, say } from "../shared/dom";
import { bitrate, clock, count, span } from "../shared/format";
import { drain } from "./operator";
import type { Decision, Node, Overview, Region } from "./overview";

/** Which colour a state has, and so which way it wants to be read. */
const TONE: Record<string, string> = {
  normal: "good",
  active: "good",
  activate: "good",
  adopt: "good",
  launching: "info",
  filling: "info",
  launch: "info",
  spilling: "warn",
  draining: "warn",
  drain: "warn",
  lost: "bad",
  doubt: "bad",
  failed: "bad",
  press: "warn",
  short: "warn",
  override: "info",
};

export function showRegions({ regions }: Overview): void {
  const busiest = Math.max(1, ...regions.map((r) => Math.max(r.viewers, r.threshold)));
  const sorted = [...regions].sort((a, b) => b.viewers - a.viewers || a.region.localeCompare(b.region));
  byId("no-regions").hidden = regions.length > 0;
  byId("regions-table").hidden = regions.length === 0;
  reconcile(byId("regions"), sorted, (r) => r.region, regionRow, (row, region) => fillRegion(row, region, busiest));
}

export function showNodes({ nodes }: Overview): void {
  const rank = (node: Node) => (node.kind === "primary" ? 0 : 1);
  const sorted = [...nodes].sort(
    (a, b) => rank(a) - rank(b) || (a.region ?? "").localeCompare(b.region ?? "") || a.node.localeCompare(b.node),
  );
  byId("no-nodes").hidden = nodes.length > 0;
  byId("nodes-table").hidden = nodes.length === 0;
  reconcile(byId("nodes"), sorted, (n) => n.node, nodeRow, fillNode);
}

export function showDecisions(decisions: readonly Decision[]): void {
  byId("no-decisions").hidden = decisions.length > 0;
  const key = (d: Decision) => `${d.at} ${d.action} ${d.region} ${d.node}`;
  reconcile(byId("decisions"), decisions, key, decisionItem, () => {});
}

function regionRow(): HTMLTableRowElement {
  const made = row(6);
  const bar = make("div", "bar");
  bar.append(make("i", "primary"), make("i", "relays"), make("b"));
  const load = make("div", "load");
  load.append(make("span", "total"), bar, make("span", "split"));
  cell(made, 1).append(load);
  return made;
}

/** Bars share one scale over all regions, so that lengths compare; the tick is the threshold. */
function fillRegion(made: HTMLTableRowElement, region: Region, busiest: number): void {
  const part = (value: number) => `${(100 * Math.max(0, value)) / busiest}%`;
  put(made, 0, "Region", region.region);
  const viewers = cell(made, 1);
  viewers.dataset["label"] = "Viewers";
  say(find(viewers, ".total"), count(region.viewers));
  say(find(viewers, ".split"), `${count(region.on_primary)} primary · ${count(region.on_relays)} relays`);
  find(viewers, ".primary").style.width = part(region.on_primary);
  find(viewers, ".relays").style.width = part(region.on_relays);
  const tick = find(viewers, "b");
  tick.style.left = part(region.threshold);
  tick.title = `threshold: ${region.threshold} viewers on the primary`;
  put(made, 2, "Threshold", count(region.threshold));
  put(made, 3, "Relays", count(region.relays));
  put(made, 4, "Egress", bitrate(region.egress_bps));
  badge(cell(made, 5), "State", region.state);
}

function nodeRow(): HTMLTableRowElement {
  const made = row(10);
  const button = make("button", "drain");
  button.type = "button";
  button.addEventListener("click", () => void drain(made.dataset["key"] ?? "", button.dataset["closed"] !== "true"));
  cell(made, 9).append(button);
  return made;
}

function fillNode(made: HTMLTableRowElement, node: Node): void {
  const name = put(made, 0, "Node", node.node);
  name.title = [node.url, node.software && `version ${node.software}`].filter(Boolean).join("\n");
  put(made, 1, "Kind", node.launched ? `${node.kind}, launched` : node.kind);
  put(made, 2, "Region", node.region ?? "–");
  const state = cell(made, 3);
  badge(state, "State", node.state);
  state.title = node.trouble ?? "";
  state.classList.toggle("hot", node.trouble !== null);
  const viewers = put(made, 4, "Viewers", count(node.viewers));
  viewers.title = Object.entries(node.streams).map(([stream, n]) => `${stream}: ${n}`).join("\n");
  const budget = node.budget_bps;
  const share = budget ? ` of ${bitrate(budget)}` : "";
  put(made, 5, "Egress", bitrate(node.egress_bps) + share);
  const price = put(made, 6, "Price", node.price === 0 ? "0" : node.price.toPrecision(2));
  price.classList.toggle("hot", node.price > 0);
  const silence = node.heard_ms;
  const heard = put(made, 7, "Heard", silence === null ? "–" : `${(silence / 1000).toFixed(1)} s ago`);
  // Heartbeats come every two seconds; three missing ones are worth a look.
  heard.classList.toggle("hot", silence !== null && silence > 6_000);
  put(made, 8, "Up", span(node.uptime_s));
  const button = find(made, ".drain") as HTMLButtonElement;
  button.dataset["closed"] = String(node.closed);
  // Everything comes from the primary: it is never drained.
  button.hidden = node.kind === "primary";
  say(button, node.closed ? "Undrain" : "Drain");
}

function decisionItem(decision: Decision): HTMLLIElement {
  const item = make("li");
  const at = new Date(decision.at);
  const time = make("time", "", clock(at));
  time.dateTime = decision.at;
  time.title = decision.at;
  const action = make("span", "badge", decision.action);
  action.dataset["tone"] = TONE[decision.action] ?? "plain";
  const where = [decision.region, decision.node].filter(Boolean).join(" · ");
  const what = make("div");
  what.append(make("strong", "", where), make("p", "", decision.reason));
  item.append(time, action, what);
  return item;
}

function row(cells: number): HTMLTableRowElement {
  const made = make("tr");
  const head = make("th");
  head.scope = "row";
  made.append(head);
  for (let i = 1; i < cells; i += 1) made.append(make("td"));
  return made;
}

function cell(made: HTMLTableRowElement, index: number): HTMLElement {
  return made.cells[index] as HTMLElement;
}

function put(made: HTMLTableRowElement, index: number, label: string, text: string): HTMLElement {
  const target = cell(made, index);
  target.dataset["label"] = label;
  say(target, text);
  return target;
}

function badge(target: HTMLElement, label: string, state: string): void {
  target.dataset["label"] = label;
  const shown = target.firstElementChild ?? target.appendChild(make("span", "badge"));
  (shown as HTMLElement).dataset["tone"] = TONE[state] ?? "plain";
  say(shown, state || "–");
}

function find(parent: HTMLElement, selector: string): HTMLElement {
  return parent.querySelector(selector) as HTMLElement;
}
