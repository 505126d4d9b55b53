// Construction of elements. All text becomes text nodes, and no markup is ever parsed.

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'g', 'path', 'line', 'rect', 'text', 'polyline', 'title', 'defs', 'marker', 'circle']);

/**
 * Creates an element. Properties that begin with `on` are listeners; `null`, `undefined` and `false` are left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets or removes an attribute, and leaves an unchanged one alone so that no style is recalculated. */
export function setAttribute(element, name, value) {
  const gone = value === null || value === undefined || value === false;
  if (gone) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Copies text, with a fallback for pages without a secure context. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Rows of one height in a scrolling element: only those in view are in the document. */
export class VirtualRows {
  constructor(scroller, spacer, create, update) {
    Object.assign(this, { scroller, spacer, create, update, pool: [], length: 0, height: 24, top: 0 });
    this.before = spacer.lastElementChild;
    this.frame = 0;
    scroller.addEventListener('scroll', () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(scroller);
  }

  /** Sets the number of rows, their height in pixels, and the height of what is above them. */
  resize(length, height, top = 0) {
    Object.assign(this, { length, height, top });
    this.spacer.style.height = `${length * height}px`;
    this.draw();
  }

  schedule() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / this.height) - 8);
    const to = Math.min(this.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / this.height) + 8);
    // A row keeps its element while it is in view, so that focus and pointer capture survive scrolling.
    const free = [];
    const used = new Map();
    for (const element of this.pool) {
      const { index } = element;
      if (index >= from && index < to && !used.has(index)) used.set(index, element);
      else free.push(element);
    }
    // The order in the document is the visible one, for screen readers.
    let { before } = this;
    for (let index = from; index < to; index += 1) {
      let element = used.get(index) ?? free.pop();
      if (!element) {
        element = this.create();
        this.pool.push(element);
      }
      if (element.previousElementSibling !== before || !element.parentNode) {
        if (before) before.after(element);
        else this.spacer.prepend(element);
      }
      before = element;
      element.index = index;
      element.hidden = false;
      element.style.transform = `translateY(${index * this.height}px)`;
      this.update(element, index);
    }
    for (const element of free) {
      element.index = -1;
      element.hidden = true;
    }
  }

  /** Scrolls just far enough that the row is in view. */
  show(index) {
    const start = index * this.height;
    const { scrollTop, clientHeight } = this.scroller;
    const room = clientHeight - this.top;
    if (start < scrollTop) this.scroller.scrollTop = Math.max(0, start - this.height);
    else if (start + 2 * this.height > scrollTop + room) this.scroller.scrollTop = start + 2 * this.height - room;
    this.draw();
  }

  /** Scrolls so that the row is in the middle, unless it is in view already. */
  center(index) {
    const start = index * this.height;
    const { scrollTop, clientHeight } = this.scroller;
    const room = clientHeight - this.top;
    if (start < scrollTop || start + this.height > scrollTop + room) {
      this.scroller.scrollTop = Math.max(0, start - (room - this.height) / 2);
    }
    this.draw();
  }

  element(index) {
    return this.pool.find((element) => element.index === index && !element.hidden);
  }
}
