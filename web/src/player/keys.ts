//! The keyboard, and the list of what each key does.

import { byId, say } from "../shared/dom";
import { offset } from "../shared/format";
import type { Captions } from "./captions";
import type { Controls } from "./controls";
import type { Panel } from "./panel";
import type { Past } from "./past";
import type { Playback } from "./playback";
import { STEP } from "./timeline";
import { named } from "./words";

export interface Hands {
  video: HTMLVideoElement;
  playback: Playback;
  past: Past;
  captions: Captions;
  controls: Controls;
  panel: Panel;
}

export function wireKeys(hands: Hands): void {
  const { video, playback, past, captions, controls, panel } = hands;
  const word = words();
  const step = (seconds: number) => {
    if (past.span === 0) return word("This stream cannot be gone back in");
    past.go(past.behind - seconds);
    word(`${seconds < 0 ? "−" : "+"}${offset(Math.abs(seconds))}`);
  };
  const louder = (more: number) => {
    controls.louder(more);
    word(video.muted ? "Muted" : `Volume ${Math.round(video.volume * 100)} %`);
  };
  const keys: Record<string, () => void> = {
    " ": () => controls.toggle(),
    k: () => controls.toggle(),
    m: () => {
      controls.mute(!video.muted);
      word(video.muted ? "Muted" : "Sound on");
    },
    f: () => controls.fullscreen(),
    c: () => {
      if (!captions.toggle()) return word("There are no captions");
      word(captions.chosen ? `Captions: ${named(captions.chosen.label)}` : "Captions off");
    },
    l: () => {
      playback.goLive();
      word("Live");
    },
    i: () => panel.toggle(),
    escape: () => panel.close(),
    "?": () => help(),
    arrowleft: () => step(-STEP),
    arrowright: () => step(STEP),
    arrowup: () => louder(0.05),
    arrowdown: () => louder(-0.05),
    home: () => past.go(past.span),
    end: () => past.go(0),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as Element;
    if (target.closest("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const moves = key.startsWith("arrow") || key === "home" || key === "end";
    // A focused control keeps its own keys: space presses a button, arrows move a slider. But on the bar to go back and
    // forth on, they go as far as everywhere else.
    const presses = (key === " " || key === "enter") && target.closest("button, a, input:not([type='range'])");
    if (presses || (moves && target.id !== "seek" && target.closest("input"))) return;
    const act = keys[key];
    if (!act) return;
    event.preventDefault();
    document.getElementById("stage")?.dispatchEvent(new Event("pointermove"));
    act();
  });
  byId("keys").addEventListener("click", help);
  byId("keys-close").addEventListener("click", () => byId<HTMLDialogElement>("keys-dialog").close());
}

function help(): void {
  const dialog = byId<HTMLDialogElement>("keys-dialog");
  if (!dialog.open) dialog.showModal();
}

/** Says in a word, on the picture, what a key has done. */
function words(): (text: string) => void {
  const word = byId("word");
  let timer: number | undefined;
  return (text) => {
    say(word, text);
    word.dataset["shown"] = "true";
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      word.dataset["shown"] = "false";
      say(word, "");
    }, 1_200);
  };
}
