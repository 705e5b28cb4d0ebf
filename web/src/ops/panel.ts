//! The dialog in which something is managed: who signs in, what it would do, and the word to do it.
//!
//! One dialog for all; what stands in it comes from `managing.ts`. While it is open the page goes on behind it.

import { byId, make, say } from "../shared/dom";
import { decisionItem } from "./lists";
import { foresee, isSignedIn, obey, signIn, signOut, type Override, type Premise } from "./operator";

const dialog = () => byId<HTMLDialogElement>("panel");

/** Opens it with `body`, or first with the way to sign in. */
export function openPanel(title: string, controls: boolean, body: () => HTMLElement[]): void {
  say(byId("panel-title"), title);
  fillPanel(title, controls, body);
  if (!dialog().open) dialog().showModal();
}

function fillPanel(title: string, controls: boolean, body: () => HTMLElement[]): void {
  const content = byId("panel-body");
  if (!controls) {
    content.replaceChildren(...body(), note("This manager was started without --operator-token-file, so that nobody may change anything or look viewers up."));
    disable(content);
  } else if (isSignedIn()) {
    content.replaceChildren(...body());
  } else {
    content.replaceChildren(signInForm(() => openPanel(title, controls, body)));
  }
}

/** Does it, once somebody has signed in. */
export function signedIn(title: string, act: () => void): void {
  if (isSignedIn()) return act();
  say(byId("panel-title"), title);
  const done = () => {
    closePanel();
    act();
  };
  byId("panel-body").replaceChildren(signInForm(done));
  if (!dialog().open) dialog().showModal();
}

function disable(content: HTMLElement): void {
  for (const control of content.querySelectorAll<HTMLInputElement>("input, select, button")) control.disabled = true;
}

export function closePanel(): void {
  dialog().close();
}

export function signInForm(done: () => void): HTMLElement {
  const form = make("form", "sign-in");
  const label = make("label", "", "Operator’s token");
  const input = make("input");
  input.type = "password";
  input.autocomplete = "current-password";
  input.required = true;
  label.append(input);
  const button = make("button", "main", "Sign in");
  const said = make("p", "said");
  said.setAttribute("role", "alert");
  form.append(note("It is the first line of the manager’s --operator-token-file, and is kept until this tab is closed."), label, button, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.disabled = true;
    signIn(input.value)
      .then(() => {
        byId("signed").dispatchEvent(new Event("change"));
        done();
      })
      .catch((error: Error) => say(said, error.message))
      .finally(() => (button.disabled = false));
  });
  queueMicrotask(() => input.focus());
  return form;
}

/** Forgets the token, if that is what was wrong. */
export function refused(error: unknown): string {
  const { status, message } = error as { status?: number; message: string };
  if (status === 401) {
    signOut();
    byId("signed").dispatchEvent(new Event("change"));
  }
  return message;
}

export function note(text: string): HTMLElement {
  return make("p", "note", text);
}

/** A list that says what would be decided; `ask` anew with each change of the premise. */
export class Preview {
  readonly element = make("div", "preview");
  private readonly list = make("ol", "decisions");
  private readonly said = make("p", "note");
  private asked = 0;

  constructor() {
    this.element.append(make("h3", "", "What would happen"), this.said, this.list);
    this.said.setAttribute("role", "status");
  }

  ask(premise: Premise): void {
    const mine = (this.asked += 1);
    say(this.said, "Asking the manager …");
    foresee(premise)
      .then((foreseen) => {
        if (mine !== this.asked) return;
        const later = foreseen.filter(({ decision }) => decision.action !== "override");
        say(this.said, later.length === 0 ? "Nothing within the next minute." : "Within a minute, if viewers go where they are sent. Nothing is done yet.");
        this.list.replaceChildren(...later.map(({ after_ms, decision }) => decisionItem(decision, `+${(after_ms / 1000).toFixed(1)} s`)));
      })
      .catch((error: unknown) => {
        if (mine !== this.asked) return;
        this.list.replaceChildren();
        say(this.said, refused(error));
      });
  }

  clear(text: string): void {
    this.asked += 1;
    this.list.replaceChildren();
    say(this.said, text);
  }
}

/** A button that says `wanted` to the manager and shows what comes of it beside itself. */
export function command(text: string, kind: "main" | "quiet", wanted: () => Override | null, done: () => void): HTMLElement {
  const made = make("div", "command");
  const button = make("button", kind, text);
  button.type = "button";
  const said = make("span", "said");
  said.setAttribute("role", "status");
  button.addEventListener("click", () => {
    const override = wanted();
    if (!override) return;
    button.disabled = true;
    obey(override)
      .then(() => {
        say(said, "Done.");
        done();
      })
      .catch((error: unknown) => say(said, refused(error)))
      .finally(() => (button.disabled = false));
  });
  made.append(button, said);
  return made;
}
