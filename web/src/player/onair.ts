//! The streams to choose from, each with a recent picture.

import { byId, make, reconcile, say } from "../shared/dom";
import { stillUrl, type Listed } from "./streams";

/** Posters are made about so often. */
const POSTER_MS = 30_000;

const STATES = { waiting: "Not on air yet", live: "Live", ended: "Recording" };

export class OnAir {
  private readonly root = byId("onair");
  private readonly list = byId("streams");

  constructor(
    private readonly page: URLSearchParams,
    private readonly choose: (name: string) => void,
  ) {}

  show(streams: readonly Listed[], chosen: string | null): void {
    this.root.hidden = streams.length < 2 && chosen !== null;
    const age = Math.floor(Date.now() / POSTER_MS);
    reconcile(
      this.list,
      streams,
      ({ name }) => name,
      ({ name }) => this.card(name),
      (item, stream) => {
        const link = item.querySelector("a");
        if (link) {
          if (stream.name === chosen) link.setAttribute("aria-current", "true");
          else link.removeAttribute("aria-current");
        }
        const state = item.querySelector(".badge");
        if (state) {
          say(state, STATES[stream.state]);
          (state as HTMLElement).dataset["live"] = String(stream.state === "live");
        }
        const picture = item.querySelector("img");
        const url = stillUrl(stream.url, `poster.jpg?width=320&at=${age}`, this.page, location.href);
        if (picture && stream.poster && picture.src !== url) picture.src = url;
        if (picture) picture.hidden = !stream.poster;
      },
    );
  }

  private card(name: string): HTMLLIElement {
    const item = make("li");
    const link = make("a", "card stream");
    const query = new URLSearchParams(this.page);
    query.set("stream", name);
    for (const gone of ["join", "start"]) query.delete(gone);
    link.href = `?${query}`;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.choose(name);
    });
    const frame = make("span", "frame");
    const picture = document.createElement("img");
    picture.alt = "";
    picture.decoding = "async";
    picture.hidden = true;
    frame.append(picture);
    const about = make("span", "named");
    about.append(make("strong", "", name), make("span", "badge"));
    link.append(frame, about);
    item.append(link);
    return item;
  }
}
