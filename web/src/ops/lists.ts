//! Alerts and decisions, as lists: what is the matter, and what was done about it.

import { byId, make, reconcile, say } from "../shared/dom";
import { clock, count, span } from "../shared/format";
import { badge, find, matches } from "./cells";
import type { Alert, Decision } from "./overview";

/** The manager keeps as many. */
const DECISIONS = 200;

export function showAlerts(alerts: readonly Alert[]): void {
  const grave = alerts.filter((alert) => alert.grave).length;
  say(byId("t-alerts"), count(alerts.length));
  say(byId("t-alerts-of"), alerts.length === 0 ? "nothing is the matter" : `${count(grave)} that viewers see`);
  byId("t-alerts").parentElement?.setAttribute("data-tone", grave > 0 ? "bad" : alerts.length > 0 ? "warn" : "good");
  byId("alerts-card").hidden = alerts.length === 0;
  const key = (a: Alert) => `${a.name} ${a.node} ${a.region} ${a.stream}`;
  reconcile(byId("alerts"), alerts, key, alertItem, fillAlert);
}

function alertItem(): HTMLLIElement {
  const item = make("li");
  const what = make("div");
  what.append(make("strong"), make("span", "where"), make("p"));
  item.append(make("span", "sign"), what, make("time"));
  return item;
}

function fillAlert(item: HTMLLIElement, alert: Alert): void {
  const sign = find(item, ".sign");
  say(sign, alert.grave ? "✕" : "▲");
  item.dataset["grave"] = String(alert.grave);
  sign.title = alert.grave ? "viewers see it, or are about to" : "worth a look";
  say(find(item, "strong"), alert.name);
  say(find(item, ".where"), [alert.stream, alert.region, alert.node].filter(Boolean).join(" · "));
  say(find(item, "p"), alert.what);
  say(find(item, "time"), `for ${span(alert.for_s)}`);
}

/** Newest first. Those of a manager that has been started again are kept, for they happened. */
export class Decisions {
  all: Decision[] = [];

  add(decisions: readonly Decision[]): void {
    const fresh = decisions.filter((decision) => !this.all.some((known) => same(known, decision)));
    if (fresh.length === 0) return;
    this.all = [...fresh, ...this.all].sort((a, b) => b.at.localeCompare(a.at)).slice(0, DECISIONS);
  }

  show(wanted: string): void {
    const shown = this.all.filter((d) => matches(wanted, d.region, d.node, d.action, d.reason));
    byId("no-decisions").hidden = this.all.length > 0;
    byId("find-decision").hidden = this.all.length < 8;
    say(byId("n-decisions"), shown.length < this.all.length ? `${shown.length} match` : "");
    const key = (d: Decision) => `${d.at} ${d.action} ${d.region} ${d.node}`;
    reconcile(byId("decisions"), shown, key, decisionItem, () => {});
  }
}

export function decisionItem(decision: Decision, when?: string): HTMLLIElement {
  const item = make("li");
  const time = make("time", "", when ?? clock(new Date(decision.at)));
  if (decision.at) {
    time.dateTime = decision.at;
    time.title = decision.at;
  }
  const action = make("span");
  badge(action, decision.action);
  const what = make("div");
  what.append(make("strong", "", [decision.region, decision.node].filter(Boolean).join(" · ")), make("p", "", decision.reason));
  item.append(time, action, what);
  return item;
}

function same(a: Decision, b: Decision): boolean {
  return a.at === b.at && a.action === b.action && a.region === b.region && a.node === b.node;
}
