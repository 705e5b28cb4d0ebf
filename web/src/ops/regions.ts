//! Regions as rows: who watches where, against which threshold, and how that went. Rows are kept by key, so that reading
//! is not disturbed.

import { byId, make, reconcile, say } from "../shared/dom";
import { bitrate, count } from "../shared/format";
import { action, badge, cell, find, matches, put, row, sparkline, trace } from "./cells";
import type { Overview, Region } from "./overview";
import type { Past } from "./past";

export const FILTERED = "none match";

export function showRegions({ regions }: Overview, past: Past, wanted: string, open: (region: string) => void): void {
  const busiest = Math.max(1, ...regions.map((r) => Math.max(r.viewers, r.threshold)));
  const shown = regions.filter((r) => matches(wanted, r.region, r.state));
  shown.sort((a, b) => b.viewers - a.viewers || a.region.localeCompare(b.region));
  byId("no-regions").hidden = regions.length > 0;
  byId("regions-table").hidden = regions.length === 0;
  byId("regions-key").hidden = regions.length === 0;
  byId("find-region").hidden = regions.length < 8;
  say(byId("n-regions"), count(regions.length) + (shown.length < regions.length ? `, ${shown.length} match` : ""));
  reconcile(byId("regions"), shown, (r) => r.region, () => regionRow(open), (made, region) => fill(made, region, busiest, past));
}

function regionRow(open: (region: string) => void): HTMLTableRowElement {
  const made = row(9);
  const bar = make("div", "bar");
  bar.append(make("i", "primary"), make("i", "relays"), make("b"));
  const load = make("div", "load");
  load.append(make("span", "total"), bar, make("span", "split"));
  cell(made, 1).append(load);
  cell(made, 2).append(sparkline());
  cell(made, 8).append(action("Manage", () => open(made.dataset["key"] ?? "")));
  return made;
}

/** Bars share one scale over all regions, so that lengths compare; the tick is the threshold. */
function fill(made: HTMLTableRowElement, region: Region, busiest: number, past: Past): void {
  const part = (value: number) => `${(100 * Math.max(0, value)) / busiest}%`;
  put(made, 0, "Region", region.region);
  const viewers = cell(made, 1);
  say(find(viewers, ".total"), count(region.viewers));
  say(find(viewers, ".split"), `${count(region.on_primary)} primary · ${count(region.on_relays)} relays`);
  find(viewers, ".primary").style.width = part(region.on_primary);
  find(viewers, ".relays").style.width = part(region.on_relays);
  const tick = find(viewers, "b");
  tick.style.left = part(region.threshold);
  tick.title = `threshold: ${region.threshold} viewers on the primary`;
  const spark = cell(made, 2).firstElementChild as SVGSVGElement;
  trace(spark, past.regions.columns.get(region.region) ?? [], region.threshold);
  put(made, 3, "Threshold", count(region.threshold));
  const pin = region.pinned;
  const relays = put(made, 4, "Relays", count(region.relays) + (pin ? " (pinned)" : ""));
  relays.title = pin ? pinned(pin) : "";
  put(made, 5, "Egress", bitrate(region.egress_bps));
  const price = put(made, 6, "Price", region.price === 0 ? "0" : region.price.toPrecision(2));
  price.classList.toggle("hot", region.price > 0);
  const state = cell(made, 7);
  state.dataset["label"] = "State";
  badge(state, region.state).title = region.rise > 0 ? `rising by ${region.rise.toFixed(1)} viewers a second` : "";
  find(made, "button").setAttribute("aria-label", `Manage ${region.region}`);
}

export function pinned(pin: { relays: number | null; node: string | null }): string {
  const relays = pin.relays === null ? [] : [`to ${pin.relays} ${pin.relays === 1 ? "relay" : "relays"}`];
  const node = pin.node === null ? [] : [`to the node ${pin.node}`];
  return `pinned ${[...relays, ...node].join(" and ")}`;
}
