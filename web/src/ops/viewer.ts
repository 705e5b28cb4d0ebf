//! One viewer, explained: what the nodes that have it know of it, and what its last rungs were chosen from. Asked again
//! while it is looked at.

import { byId, make, say } from "../shared/dom";
import { bitrate, clock, count, seconds, span } from "../shared/format";
import { describe } from "./cells";
import { lookUp, viewersOf } from "./operator";
import { list, number, text } from "./overview";
import { refused, signedIn } from "./panel";

type Raw = Record<string, unknown>;

/** Nodes answer with their next report. */
const AGAIN = 2_000;

const WHY: Record<string, string> = {
  start: "its first, or nothing is known of its path",
  steady: "as before: the path says nothing else",
  up: "the path carries more",
  down: "the path carries less, or this segment is dearer",
  ceiling: "the path would carry more than the node’s budget allows",
  emergency: "not even the cheapest rung fits",
  fixed: "the viewer said so",
  absent: "the rung it would have is not here, and its buffer does not last for fetching it",
};

let shown = "";
let timer = 0;

/** Sees to the form; `controls` says whether there is anybody who may. */
export function watchForm(controls: () => boolean): (viewer: string) => void {
  const input = byId<HTMLInputElement>("viewer-id");
  const look = (viewer: string) => {
    input.value = viewer;
    shown = viewer.trim();
    window.clearTimeout(timer);
    byId("viewer").replaceChildren();
    if (shown === "") return say(byId("viewer-said"), "");
    if (!controls()) return say(byId("viewer-said"), "This manager was started without --operator-token-file, so that nobody may look viewers up.");
    signedIn("Sign in to look viewers up", () => {
      say(byId("viewer-said"), "Asking the nodes; they answer with their next reports …");
      void ask(shown);
    });
  };
  byId("viewer-form").addEventListener("submit", (event) => {
    event.preventDefault();
    look(input.value);
  });
  return look;
}

async function ask(viewer: string): Promise<void> {
  try {
    const told = await lookUp(viewer);
    if (viewer !== shown) return;
    const silent = Array.isArray(told["silent"]) ? (told["silent"] as string[]) : [];
    say(byId("viewer-said"), `As of ${clock(Date.now())}${silent.length > 0 ? `; no answer from ${silent.join(", ")}` : ""}. Asked again while it is shown.`);
    const at = byId("viewer").querySelector(".scroll");
    const [left, top] = [at?.scrollLeft ?? 0, at?.scrollTop ?? 0];
    byId("viewer").replaceChildren(...list(told["found"]).flatMap(explain));
    byId("viewer").querySelector(".scroll")?.scrollTo(left, top);
  } catch (error) {
    if (viewer !== shown) return;
    say(byId("viewer-said"), refused(error));
    return;
  }
  timer = window.setTimeout(() => void (document.hidden ? later(viewer) : ask(viewer)), AGAIN);
}

function later(viewer: string): void {
  document.addEventListener("visibilitychange", () => viewer === shown && void ask(viewer), { once: true });
}

/** What one node says. */
function explain(found: Raw): HTMLElement[] {
  const node = text(found["node"]);
  const told = (found["told"] ?? {}) as Raw;
  const streams = list(told["streams"]);
  return list(told["viewers"]).map((viewer) => {
    const stream = text(viewer["stream"]);
    const known = streams.find((one) => one["stream"] === stream);
    const rungs = list(known?.["ladder"]);
    const rung = (index: unknown) => text(rungs[Number(index)]?.["name"]) || (index == null ? "–" : `rung ${String(index)}`);
    const made = make("section", "viewer");
    const facts = describe([
      ["Stream", stream],
      ["Node", node + (viewer["moved"] === true ? ", and was sent elsewhere" : "")],
      ["Region", text(viewer["region"])],
      ["Class", text(viewer["class"]) || "–"],
      ["Rung", `${rung(viewer["rung"])}, ${text(viewer["reason"]) || "not chosen yet"}`],
      ["At most", rung(viewer["ceiling"])],
      ["Its path carries", kbps(viewer["estimate_kbps"])],
      ["Has ahead", millis(viewer["buffer_ms"])],
      ["Stalls", count(number(viewer["stalls"]))],
      ["Changes of rung", count(number(viewer["switches"]))],
      ["Broken off", count(number(viewer["abandoned"]))],
      ["Segments", `${count(number(viewer["segments"]))} in ${span(number(viewer["since_s"]))}`],
      ["Last asked", `${millis(viewer["silent_ms"])} ago`],
    ]);
    made.append(make("h3", "", text(viewer["viewer"])), facts);
    const decisions = known?.["decisions"];
    if (Array.isArray(decisions) && decisions.length > 0) made.append(chosen(list(decisions).reverse(), rung));
    else made.append(make("p", "note", "Its decisions are kept from now on, if there is room; look again in a few seconds."));
    return made;
  });
}

/** The last decisions, newest first. */
function chosen(decisions: Raw[], rung: (index: unknown) => string): HTMLElement {
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", "Its last decisions");
  const table = make("table", "choices");
  const head = table.createTHead().insertRow();
  for (const name of ["At", "Segment", "Rung", "Why", "Path", "Ahead", "At most", "Price"]) {
    const made = make("th", "", name);
    made.scope = "col";
    head.append(made);
  }
  const rows = table.createTBody();
  for (const one of decisions) {
    const row = rows.insertRow();
    const reason = text(one["reason"]);
    const cells = [
      ["At", clock(number(one["at_ms"]) ?? NaN)],
      ["Segment", String(one["number"] ?? "–")],
      ["Rung", rung(one["rung"])],
      ["Why", `${reason}: ${WHY[reason] ?? text(one["rule"])}`],
      ["Path", kbps(one["estimate_kbps"])],
      ["Ahead", millis(one["buffer_ms"]) + (one["playing"] === false ? ", not playing" : "")],
      ["At most", rung(one["ceiling"])],
      ["Price", (number(one["price"]) ?? 0).toPrecision(2)],
    ] as const;
    for (const [label, value] of cells) {
      const cell = row.insertCell();
      cell.dataset["label"] = label;
      cell.textContent = value;
    }
  }
  scroll.append(table);
  return scroll;
}

/** Some viewers of `node`, each of which can be looked up. */
export function viewerList(node: string, look: (viewer: string) => void): HTMLElement {
  const made = make("section", "viewer-list");
  const said = make("p", "note", "Asking the node …");
  const names = make("ul");
  made.append(make("h3", "", "Some of its viewers"), said, names);
  viewersOf(node)
    .then((told) => {
      const answer = list(told["found"])[0];
      if (!answer) return say(said, "The node does not answer.");
      const viewers = list(((answer["told"] ?? {}) as Raw)["viewers"]);
      viewers.sort((a, b) => (number(b["stalls"]) ?? 0) - (number(a["stalls"]) ?? 0));
      say(said, viewers.length === 0 ? "It has none just now." : "Those who stalled most first.");
      names.replaceChildren(...viewers.slice(0, 30).map((viewer) => viewerItem(viewer, look)));
    })
    .catch((error: unknown) => say(said, refused(error)));
  return made;
}

function viewerItem(viewer: Raw, look: (viewer: string) => void): HTMLElement {
  const item = make("li");
  const id = text(viewer["viewer"]);
  const button = make("button", "quiet", id);
  button.type = "button";
  button.addEventListener("click", () => look(id));
  const stalls = number(viewer["stalls"]) ?? 0;
  item.append(button, make("span", "", `${text(viewer["stream"])}, ${kbps(viewer["estimate_kbps"])}, ${stalls} ${stalls === 1 ? "stall" : "stalls"}`));
  return item;
}

function kbps(value: unknown): string {
  const known = number(value);
  return known === null ? "not known yet" : bitrate(known * 1000);
}

function millis(value: unknown): string {
  const known = number(value);
  return known === null ? "–" : seconds(known / 1000);
}
