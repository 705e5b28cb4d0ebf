//! The strip of rungs: one step per segment, the higher the better, newest at the right.
//!
//! Height says the same as colour, so colour is never the only sign.

import { STRIP, type Step } from "./telemetry";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 10;
const HEIGHT = 64;

export class Strip {
  private drawn = "";

  constructor(
    private readonly svg: SVGSVGElement,
    private readonly legend: HTMLElement,
  ) {
    svg.setAttribute("viewBox", `0 0 ${STRIP * WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
  }

  draw(steps: readonly Step[], rungs: readonly string[], shown: string | null): void {
    const signature = `${steps.length}:${steps.at(-1)?.sn}:${rungs.join()}:${shown}`;
    if (signature === this.drawn) return;
    this.drawn = signature;
    const order = ranked(rungs);
    const bars = steps.map((step, i) => bar(step, STRIP - steps.length + i, order));
    this.svg.replaceChildren(...bars);
    this.svg.setAttribute("aria-label", describe(steps));
    this.legend.replaceChildren(...[...order].reverse().map((rung) => entry(rung, order, rung === shown)));
  }
}

/** Cheapest first, by the number in the name ("360p", "1080p60"); names without one go by alphabet. */
export function ranked(rungs: readonly string[]): string[] {
  const size = (rung: string) => Number.parseFloat(/\d+(\.\d+)?/.exec(rung)?.[0] ?? "NaN");
  return [...rungs].sort((a, b) => {
    const difference = size(a) - size(b);
    return Number.isNaN(difference) || difference === 0 ? a.localeCompare(b) : difference;
  });
}

function bar(step: Step, column: number, order: readonly string[]): SVGRectElement {
  const height = (HEIGHT * (order.indexOf(step.rung) + 1)) / Math.max(order.length, 1);
  const rect = document.createElementNS(NS, "rect");
  rect.setAttribute("x", String(column * WIDTH));
  rect.setAttribute("y", String(HEIGHT - height));
  rect.setAttribute("width", String(WIDTH - 1.5));
  rect.setAttribute("height", String(height));
  rect.style.fill = colour(step.rung, order);
  const title = document.createElementNS(NS, "title");
  title.textContent = `segment ${step.sn}: ${step.rung}`;
  rect.append(title);
  return rect;
}

function entry(rung: string, order: readonly string[], shown: boolean): HTMLElement {
  const item = document.createElement("li");
  const swatch = document.createElement("i");
  swatch.style.background = colour(rung, order);
  item.append(swatch, rung);
  if (shown) item.setAttribute("aria-current", "true");
  return item;
}

/** Amber over sky to blue: a ramp in lightness as well as in hue. */
function colour(rung: string, order: readonly string[]): string {
  const at = order.length < 2 ? 1 : order.indexOf(rung) / (order.length - 1);
  const [from, to, share] =
    at < 0.5 ? ["--rung-low", "--rung-mid", at * 2] : ["--rung-mid", "--rung-top", at * 2 - 1];
  return `color-mix(in srgb, var(${to}) ${Math.round(share * 100)}%, var(${from}))`;
}

function describe(steps: readonly Step[]): string {
  if (steps.length === 0) return "No segments yet";
  const totals = new Map<string, number>();
  for (const { rung } of steps) totals.set(rung, (totals.get(rung) ?? 0) + 1);
  const parts = [...totals].map(([rung, n]) => `${n} in ${rung}`);
  return `Last ${steps.length} segments: ${parts.join(", ")}`;
}
