//! One chart of a few lines over the time that was asked for. How lines and axes look is `shared/plot`'s business.

import uPlot from "uplot";
import { make, say } from "../shared/dom";
import { CURSOR, LINES, axis, line, size } from "../shared/plot";
import type { Columns } from "./columns";

/** A tick of the time axis: the time, or the day at midnight and where ticks are days apart. */
function when(at: number, step: number): string {
  const date = new Date(at * 1000);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  return midnight || step >= 86_400
    ? date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })
    : date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

export class Chart {
  private plot: uPlot | null = null;
  private shown: Columns = { times: [], names: [], values: [], all: 0 };

  constructor(
    private readonly host: HTMLElement,
    private readonly note: HTMLElement,
    private readonly label: (value: number) => string,
    /** The scale reaches at least this far, so that next to nothing does not look like a lot. */
    private readonly least: number,
    private readonly most?: number,
  ) {
    new ResizeObserver(() => this.fit()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show(this.shown));
  }

  show(columns: Columns): void {
    this.shown = columns;
    say(this.note, columns.all > LINES ? `${LINES} largest of ${columns.all}` : "");
    this.plot?.destroy();
    this.plot = null;
    this.host.replaceChildren();
    if (columns.names.length === 0) {
      this.host.append(make("p", "none", "Nothing in that time."));
    } else if (this.host.clientWidth > 0) {
      this.plot = new uPlot(this.options(), [columns.times, ...columns.values] as uPlot.AlignedData, this.host);
    }
  }

  private options(): uPlot.Options {
    const both = axis(this.host);
    return {
      ...size(this.host),
      cursor: CURSOR,
      scales: {
        x: { time: true },
        y: { range: (_, __, max) => [0, this.most ?? Math.max(max ?? 0, this.least) * 1.12] },
      },
      axes: [
        { ...both, space: 70, values: (_, ticks, __, ___, step) => ticks.map((tick) => when(tick, step)) },
        { ...both, size: 72, values: (_, ticks) => ticks.map((tick) => this.label(tick)) },
      ],
      series: [
        { label: "time", value: (_, at) => (at === null ? "–" : new Date(at * 1000).toLocaleString("en-GB")) },
        ...this.shown.names.map((name, at) => ({
          label: name || "all",
          ...line(this.host, at),
          points: { show: this.shown.times.length < 2 },
          value: (_: uPlot, value: number | null) => (value == null ? "–" : this.label(value)),
        })),
      ],
    };
  }

  private fit(): void {
    if (!this.plot) this.show(this.shown);
    else if (this.host.clientWidth > 0) this.plot.setSize(size(this.host));
  }
}
