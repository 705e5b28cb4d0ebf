//! What rows of the tables are made of: cells by their place, badges that can be read without colour, and small lines.

import { make, say } from "../shared/dom";

/** Which way a state wants to be read: a colour, and a sign beside it for who sees no colours. */
type Tone = "good" | "info" | "warn" | "bad" | "plain";

const TONE: Record<string, Tone> = {
  normal: "good",
  active: "good",
  activate: "good",
  adopt: "good",
  launching: "info",
  filling: "info",
  launch: "info",
  override: "info",
  spilling: "warn",
  draining: "warn",
  drain: "warn",
  press: "warn",
  short: "warn",
  lost: "bad",
  doubt: "bad",
  failed: "bad",
};
const SIGN: Record<Tone, string> = { good: "✓", info: "◌", warn: "▲", bad: "✕", plain: "·" };

export function row(cells: number): HTMLTableRowElement {
  const made = make("tr");
  const head = make("th");
  head.scope = "row";
  made.append(head);
  for (let i = 1; i < cells; i += 1) made.append(make("td"));
  return made;
}

export function cell(made: HTMLTableRowElement, index: number): HTMLElement {
  return made.cells[index] as HTMLElement;
}

/** Text into a cell; `label` is its column, for who sees rows as cards. */
export function put(made: HTMLTableRowElement, index: number, label: string, text: string): HTMLElement {
  const target = cell(made, index);
  target.dataset["label"] = label;
  say(target, text);
  return target;
}

export function badge(target: HTMLElement, state: string): HTMLElement {
  const shown = (target.querySelector(".badge") ?? target.appendChild(make("span", "badge"))) as HTMLElement;
  const tone = TONE[state] ?? "plain";
  shown.dataset["tone"] = tone;
  shown.dataset["sign"] = SIGN[tone];
  say(shown, state || "–");
  return shown;
}

export function find(parent: HTMLElement, selector: string): HTMLElement {
  return parent.querySelector(selector) as HTMLElement;
}

/** A button that says for whom it is to those who do not see the row. */
export function action(text: string, press: () => void): HTMLButtonElement {
  const button = make("button", "quiet", text);
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

/** Names and values. */
export function describe(facts: [string, string][]): HTMLElement {
  const made = make("dl", "facts");
  for (const [name, value] of facts) {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", value));
    made.append(pair);
  }
  return made;
}

/** Whether one of `texts` has what is looked for. */
export function matches(wanted: string, ...texts: (string | null)[]): boolean {
  const lower = wanted.trim().toLowerCase();
  return lower === "" || texts.some((text) => text?.toLowerCase().includes(lower));
}

const SVG = "http://www.w3.org/2000/svg";

/** A line of what was, without axes: how it went, not how much. */
export function sparkline(): SVGSVGElement {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("class", "spark");
  drawn.setAttribute("viewBox", "0 0 100 24");
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("aria-hidden", "true");
  drawn.append(document.createElementNS(SVG, "path"));
  return drawn;
}

/** Draws at most 60 points of `values`, from 0 to the most of them, or to `least`. */
export function trace(drawn: SVGSVGElement, values: readonly (number | null)[], least: number): void {
  const per = Math.max(1, Math.ceil(values.length / 60));
  const points: (number | null)[] = [];
  for (let i = values.length; i > 0; i -= per) {
    const some = values.slice(Math.max(0, i - per), i).filter((value): value is number => value !== null);
    points.unshift(some.length > 0 ? Math.max(...some) : null);
  }
  const most = Math.max(least, ...points.map((value) => value ?? 0));
  let path = "";
  points.forEach((value, i) => {
    if (value === null) return;
    const begins = i === 0 || points[i - 1] === null;
    const x = points.length < 2 ? 100 : (100 * i) / (points.length - 1);
    path += `${begins ? "M" : "L"}${x.toFixed(1)} ${(22 - (20 * value) / most).toFixed(1)}`;
  });
  const line = drawn.firstElementChild;
  if (line && line.getAttribute("d") !== path) line.setAttribute("d", path);
}
