// The few things that this page does with elements. Text goes in as text, never as HTML.

/** A new element: `el("span", { class: "chip" }, "text", child)`. Attributes that are false or undefined are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== ""));
  return node;
}

/** A new SVG element. */
export function svg(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Set a text only if it changed: what has not changed is not read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Make `parent` show `items` in order, one child per key, and keep the children that are there already,
 * so that focus, open details and a playing recording stay. `make(item)` is called once per key and returns
 * {node, update(item)}; what changes comes with the item, not from around `make`.
 */
export function keyed(parent, items, keyOf, make) {
  const views = (parent.views ??= new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, view] of views) {
    if (!wanted.has(key)) {
      view.node.remove();
      views.delete(key);
    }
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let view = views.get(key);
    if (!view) views.set(key, (view = make(item)));
    view.update(item);
    if (view.node === next) next = next.nextElementSibling;
    else parent.insertBefore(view.node, next);
  }
}
