// Makes a part of the page like another, with as many of its own nodes as can be: what has focus,
// is selected, scrolled or open stays so.

const isText = (node) => node.nodeType === Node.TEXT_NODE;
const isAlike = (a, b) => a.nodeName === b.nodeName && (isText(a) || a.id === b.id);

function copyAttributes(from, to) {
  for (const { name } of [...to.attributes]) {
    // Whether details are open is up to the reader.
    if (!from.hasAttribute(name) && !(name === "open" && to.nodeName === "DETAILS")) {
      to.removeAttribute(name);
    }
  }
  for (const { name, value: text } of from.attributes) {
    if (to.getAttribute(name) !== text && !(name === "open" && to.nodeName === "DETAILS")) {
      to.setAttribute(name, text);
    }
  }
}

export function change(old, wanted) {
  const ids = new Set([...wanted.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (child.id && !ids.has(child.id)) {
      child.remove();
    }
  }
  old.normalize();
  let at = old.firstChild;
  for (const child of [...wanted.childNodes]) {
    let kept = at;
    if (!isText(child) && child.id) {
      kept = [...old.childNodes].find((node) => node.id === child.id && isAlike(node, child));
    }
    if (kept === null || kept === undefined || !isAlike(kept, child)) {
      old.insertBefore(document.importNode(child, true), at);
      continue;
    }
    // One that has moved up.
    if (kept !== at) {
      old.insertBefore(kept, at);
    }
    at = kept.nextSibling;
    if (isText(child)) {
      if (kept.data !== child.data) {
        kept.data = child.data;
      }
    } else {
      copyAttributes(child, kept);
      change(kept, child);
    }
  }
  while (at !== null) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
