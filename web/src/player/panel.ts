//! What this viewer gets, and why: one line beside the title, all of it on demand.

import { byId, say } from "../shared/dom";
import { bitrate, count, seconds } from "../shared/format";
import type { Playback } from "./playback";
import { Strip } from "./strip";
import type { Telemetry } from "./telemetry";
import { because } from "./words";

export class Panel {
  private readonly root = byId("panel");
  private readonly strip = new Strip(byId<SVGSVGElement>("strip"), byId("legend"));
  /** The line, on the page; a player that is embedded has none. */
  private readonly given = document.getElementById("given");

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly playback: Playback,
    private readonly telemetry: Telemetry,
    private readonly onchange: () => void,
  ) {
    this.given?.addEventListener("click", () => this.toggle());
    byId("details").addEventListener("click", () => this.toggle());
    // Where it lies over the picture it scrolls, and without a mouse as well.
    if (!this.given) this.root.tabIndex = 0;
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  close(): void {
    if (this.isOpen) this.toggle();
  }

  toggle(): void {
    this.root.hidden = this.isOpen;
    this.given?.setAttribute("aria-expanded", String(this.isOpen));
    this.onchange();
  }

  refresh(node: string): void {
    const { playback, telemetry, video } = this;
    const { word } = telemetry;
    const shown = telemetry.shown ?? word.rung;
    if (this.given) {
      this.given.hidden = shown === null;
      say(byId("given-rung"), shown ?? "");
      say(byId("given-why"), word.reason === null ? "" : because(word.reason));
      say(byId("node"), word.node ?? node);
      byId("node-line").hidden = !(word.node ?? node);
    }
    if (!this.isOpen) return;
    say(byId("rung"), shown ?? "–");
    say(byId("sentence"), this.sentence(shown));
    say(byId("reason"), word.reason === null ? "" : because(word.reason));
    byId("reason-line").hidden = !word.reason;
    say(byId("s-picture"), video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "–");
    say(byId("s-estimate"), word.estimate === null ? "not measured" : bitrate(word.estimate * 1000));
    say(byId("s-buffer"), seconds(telemetry.buffer));
    say(byId("s-latency"), seconds(playback.latency));
    say(byId("s-dropped"), count(telemetry.droppedFrames));
    const lost = telemetry.stalls > 0 ? ` · ${seconds(telemetry.stalledMs / 1000)}` : "";
    say(byId("s-stalls"), `${telemetry.stalls}${lost}`);
    say(byId("s-node"), word.node ?? (node || "–"));
    say(byId("s-delivery"), playback.long ? "from the recording" : playback.byParts ? "by parts" : "by segments");
    this.strip.draw(telemetry.steps, telemetry.rungs, shown);
  }

  private sentence(shown: string | null): string {
    const { state } = this.playback;
    if (state.name === "retrying") return "Playing what is left in the buffer";
    if (state.name === "ended") return "The stream has ended";
    if (shown === null) return state.name === "playing" ? "This browser does not tell the page its rung" : "Waiting for the first segment";
    const next = this.telemetry.word.rung;
    if (next !== null && next !== shown) return `Playing now; ${next} comes next`;
    return this.telemetry.stalled ? "Waiting for data" : "Chosen for you by the server";
  }
}
