"use strict";
// Elements, numbers and formulas as text, files that are loaded when they are needed. Text from the catalogue only ever
// becomes text nodes and attribute values, so nothing in it can become markup.
window.Hardcoat = {};

(function (H) {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  H.h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  H.svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  H.number = (value, digits) => {
    if (value === null || value === undefined) return "–";
    const text = Number(value).toFixed(digits);
    return text.startsWith("-") ? (Number(text) === 0 ? text.slice(1) : "−" + text.slice(1)) : text;
  };

  H.formula = (text) =>
    text.split(/(\d+(?:\.\d+)?)/).map((part, place) => (place % 2 ? H.h("sub", null, shortNumber(part)) : part));

  const shortNumber = (text) => (text.includes(".") ? String(Number(Number(text).toFixed(4))) : text);

  H.plainFormula = (text) => text.replace(/\d+\.\d+/g, shortNumber);

  // Plotly reads a few tags in its texts.
  H.plotText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");

  H.store = {
    get(name) {
      try {
        return window.localStorage.getItem("hardcoat." + name);
      } catch (error) {
        return null;
      }
    },
    set(name, value) {
      try {
        window.localStorage.setItem("hardcoat." + name, value);
      } catch (error) {
        // Private windows may have no storage: the choice lasts as long as the page.
      }
    },
  };

  const scripts = new Map();
  H.loadScript = (url) => {
    if (!scripts.has(url)) {
      const loaded = new Promise((resolve, reject) => {
        const script = H.h("script", { src: url, onload: resolve });
        script.addEventListener("error", () => {
          scripts.delete(url);
          reject(new Error(`${url} could not be loaded`));
        });
        document.head.append(script);
      });
      scripts.set(url, loaded);
    }
    return scripts.get(url);
  };

  H.announce = (text) => {
    document.getElementById("announcer").textContent = text;
  };

  H.download = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = H.h("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  H.narrow = () => window.matchMedia("(max-width: 760px)").matches;

  // Topics tie the parts of the page together: each says what changed, and each draws itself anew.
  const listeners = new Map();
  H.on = (topic, listener) => listeners.set(topic, [...(listeners.get(topic) || []), listener]);
  H.say = (topic, ...values) => (listeners.get(topic) || []).forEach((listener) => listener(...values));

  // At most one call a frame, however often it is asked for.
  H.framed = (action) => {
    let asked = false;
    return () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        action();
      });
    };
  };
})(window.Hardcoat);
