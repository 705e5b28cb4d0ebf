//! Nodes as rows: what they do, since when, and how hard.

import { byId, make, reconcile, say } from "../shared/dom";
import { bitrate, count, span } from "../shared/format";
import { action, badge, cell, find, matches, put, row } from "./cells";
import type { Node, Overview } from "./overview";

export function showNodes({ nodes }: Overview, wanted: string, open: (node: string) => void): void {
  const rank = (node: Node) => (node.kind === "primary" ? 0 : 1);
  const shown = nodes.filter((n) => matches(wanted, n.node, n.region, n.state, n.kind, n.software));
  shown.sort(
    (a, b) => rank(a) - rank(b) || (a.region ?? "").localeCompare(b.region ?? "") || a.node.localeCompare(b.node),
  );
  byId("no-nodes").hidden = nodes.length > 0;
  byId("nodes-table").hidden = nodes.length === 0;
  byId("find-node").hidden = nodes.length < 8;
  say(byId("n-nodes"), count(nodes.length) + (shown.length < nodes.length ? `, ${shown.length} match` : ""));
  reconcile(byId("nodes"), shown, (n) => n.node, () => nodeRow(open), fill);
}

function nodeRow(open: (node: string) => void): HTMLTableRowElement {
  const made = row(11);
  const share = make("div", "share");
  share.append(make("span"), make("meter"));
  cell(made, 5).append(share);
  cell(made, 10).append(action("Manage", () => open(made.dataset["key"] ?? "")));
  return made;
}

function fill(made: HTMLTableRowElement, node: Node): void {
  const name = put(made, 0, "Node", node.node);
  name.title = node.url;
  put(made, 1, "Kind", node.launched ? `${node.kind}, launched` : node.kind);
  put(made, 2, "Region", node.region ?? "–");
  const state = cell(made, 3);
  state.dataset["label"] = "State";
  badge(state, node.state).title = node.trouble ?? "";
  const note = [node.closed ? "closed" : "", node.trouble ? "in trouble" : "", node.weight === 1 ? "" : `weight ${node.weight}`];
  const extra = (state.querySelector("small") ?? state.appendChild(make("small"))) as HTMLElement;
  say(extra, note.filter(Boolean).join(", "));
  const viewers = put(made, 4, "Viewers", count(node.viewers));
  viewers.title = Object.entries(node.streams).map(([stream, n]) => `${stream}: ${n}`).join("\n");
  fillShare(cell(made, 5), node);
  const price = put(made, 6, "Price", node.price === 0 ? "0" : node.price.toPrecision(2));
  price.classList.toggle("hot", node.price > 0);
  const silence = node.heard_ms;
  const heard = put(made, 7, "Heard", silence === null ? "–" : `${(silence / 1000).toFixed(1)} s ago`);
  // Heartbeats come every two seconds; three missing ones are worth a look.
  heard.classList.toggle("hot", silence !== null && silence > 6_000);
  put(made, 8, "Up", span(node.uptime_s));
  put(made, 9, "Version", node.software || "–");
  find(made, "button").setAttribute("aria-label", `Manage ${node.node}`);
}

/** How much of its budget a node sends, where it has one. */
function fillShare(target: HTMLElement, node: Node): void {
  target.dataset["label"] = "Egress";
  const budget = node.budget_bps;
  say(find(target, "span"), bitrate(node.egress_bps) + (budget ? ` of ${bitrate(budget)}` : ""));
  const meter = find(target, "meter") as HTMLMeterElement;
  meter.hidden = !budget;
  if (!budget) return;
  meter.max = budget;
  meter.high = budget * 0.85;
  meter.optimum = 0;
  meter.value = Math.min(budget, node.egress_bps);
  meter.setAttribute("aria-label", `egress of ${node.node}`);
}
