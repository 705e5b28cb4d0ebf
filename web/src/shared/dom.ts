//! The few DOM manners both pages share: find what must be there, and change only what differs.

/** The element the page's own HTML promises under this id. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}; html and script are of different builds`);
  return found as unknown as T;
}

/** Sets text only when it differs, so that selections survive and screen readers stay quiet. */
export function say(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  text = "",
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/**
 * Brings the children of `parent` in line with `items`: keeps the element of a known key, makes
 * missing ones, drops the rest. Keeping elements keeps hover, focus and selection.
 */
export function reconcile<T, E extends HTMLElement>(
  parent: Element,
  items: readonly T[],
  key: (item: T) => string,
  create: (item: T) => E,
  update: (element: E, item: T) => void,
): void {
  const known = new Map<string, E>();
  for (const child of Array.from(parent.children) as E[]) {
    const name = child.dataset["key"];
    if (name === undefined || known.has(name)) child.remove();
    else known.set(name, child);
  }
  let cursor: Element | null = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const element = known.get(name) ?? create(item);
    known.delete(name);
    element.dataset["key"] = name;
    update(element, item);
    if (element === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(element, cursor);
  }
  for (const gone of known.values()) gone.remove();
}
