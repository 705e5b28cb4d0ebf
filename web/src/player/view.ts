//! What the viewer reads: state in words, numbers, the strip. It shows; it decides nothing.

import { byId, reconcile, say } from "../shared/dom";
import { bitrate, count, seconds } from "../shared/format";
import type { Playback, State } from "./playback";
import type { Listed } from "./streams";
import { Strip } from "./strip";
import type { Telemetry } from "./telemetry";
import { because } from "./words";

export class View {
  private readonly stage = byId("stage");
  private readonly overlay = byId("overlay");
  private readonly overlayTitle = byId("overlay-title");
  private readonly overlayText = byId("overlay-text");
  private readonly overlayAct = byId<HTMLButtonElement>("overlay-act");
  private readonly live = byId("live");
  private readonly strip = new Strip(byId<SVGSVGElement>("strip"), byId("legend"));

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly playback: Playback,
    private readonly telemetry: Telemetry,
  ) {
    this.overlayAct.addEventListener("click", () => {
      playback.retryNow();
      void playback.play();
    });
  }

  /** No stream to play: says why, and that the page keeps looking. */
  empty(title: string, text: string): void {
    this.stage.dataset["state"] = "empty";
    this.showOverlay(title, text, null);
    byId("panel").hidden = true;
    say(byId("title"), "Nothing on air");
  }

  streams(list: readonly Listed[], chosen: string, choose: (name: string) => void): void {
    byId("panel").hidden = false;
    say(byId("title"), chosen);
    document.title = `${chosen} · Spillway`;
    const tabs = byId("streams");
    tabs.hidden = list.length < 2;
    reconcile(
      tabs,
      list,
      (stream) => stream.name,
      (stream) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = stream.name;
        button.addEventListener("click", () => choose(stream.name));
        return button;
      },
      (button, stream) => button.setAttribute("aria-pressed", String(stream.name === chosen)),
    );
  }

  /** Called four times a second and whenever the state changes. */
  refresh(node: string): void {
    const { playback, telemetry, video } = this;
    const { state } = playback;
    if (state.name === "idle") return;
    this.stage.dataset["state"] = state.name === "playing" && telemetry.stalled ? "stalled" : state.name;
    this.overlayFor(state);
    this.liveness(state);

    const { word } = telemetry;
    const shown = telemetry.shown ?? word.rung;
    say(byId("rung"), shown ?? "–");
    say(byId("sentence"), this.sentence(shown));
    say(byId("reason"), word.reason === null ? "" : because(word.reason));
    byId("reason-line").hidden = !word.reason;
    say(byId("node"), word.node ?? node);
    byId("node-line").hidden = !(word.node ?? node);

    say(byId("s-picture"), video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "–");
    say(byId("s-estimate"), word.estimate === null ? "not measured" : bitrate(word.estimate * 1000));
    say(byId("s-buffer"), seconds(telemetry.buffer));
    say(byId("s-latency"), seconds(playback.latency));
    say(byId("s-dropped"), count(telemetry.droppedFrames));
    const lost = telemetry.stalls > 0 ? ` · ${seconds(telemetry.stalledMs / 1000)}` : "";
    say(byId("s-stalls"), `${telemetry.stalls}${lost}`);
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

  private overlayFor(state: State): void {
    const running = !this.video.paused && this.video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA;
    switch (state.name) {
      case "blocked":
        return this.showOverlay("Ready", "Your browser asks for a click before it plays.", "Play");
      case "unable":
        return this.showOverlay("This browser cannot play the stream", state.why, null);
      case "ended":
        return this.showOverlay("The stream has ended", "If it starts again, it will be here.", "Look again");
      case "connecting":
        // After a failure the words stay until there is a picture: no flicker at each attempt.
        if (state.after === null) return this.hideOverlay();
        return this.showOverlay(state.after, "Connecting.", null);
      case "retrying": {
        const left = Math.max(0, Math.ceil((state.at - Date.now()) / 1000));
        const where = state.rejoin ? "Asking the traffic manager for another server" : "Trying again";
        // The buffered picture is worth more than an apology over it.
        if (running) return this.hideOverlay();
        return this.showOverlay(state.why, `${where} ${left > 0 ? `in ${left} s` : "now"}.`, "Try now");
      }
      default:
        return this.hideOverlay();
    }
  }

  private liveness(state: State): void {
    const { behind } = this.playback;
    const on = state.name === "playing";
    const late = on && behind !== null && behind > 4;
    this.live.hidden = !on || behind === null;
    this.live.dataset["late"] = String(late);
    say(this.live, late ? `Go live · ${Math.round(behind ?? 0)} s behind` : "Live");
  }

  private showOverlay(title: string, text: string, act: string | null): void {
    this.overlay.hidden = false;
    say(this.overlayTitle, title);
    say(this.overlayText, text);
    this.overlayAct.hidden = act === null;
    if (act !== null) say(this.overlayAct, act);
  }

  private hideOverlay(): void {
    this.overlay.hidden = true;
  }
}
