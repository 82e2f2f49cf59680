// The calculators <gk-training> and <gk-token>: the formulas of greenkit.foundations.footprint on
// what a reader types. greenkit.course.calculators writes the elements; tests compare both.
document.addEventListener("DOMContentLoaded", () => {
  const KINDS = {
    "gk-training": {
      fields: { chips: "Chips", hours: "Hours", power_w: "Mean watts per chip", pue: "PUE" },
      wh: (v) => v.chips * v.hours * v.power_w * v.pue,
      formula: (v) => `${grouped(v.chips)} chips × ${grouped(v.hours)} h × ${grouped(v.power_w)} W`,
    },
    "gk-token": {
      fields: { joules_per_token: "Joules per token", tokens: "Tokens", pue: "PUE" },
      wh: (v) => ((v.tokens * v.joules_per_token) / 3600) * v.pue,
      formula: (v) => `${grouped(v.tokens)} tokens × ${grouped(v.joules_per_token)} J/token`,
    },
  };
  const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  let count = 0;

  // Numbers are printed as Python prints them, so that page and package agree to the last digit.
  // Significant digits and exponent; unlike toExponential, an exact tie goes to the even digit.
  function rounded(value, significant) {
    const [exact, power] = value.toExponential(80).split("e");
    const digits = exact.replace(".", "");
    const tie = /^50*$/.test(digits.slice(significant));
    if (tie && digits[significant - 1] % 2 === 0) return [digits.slice(0, significant), Number(power)];
    const [near, exponent] = value.toExponential(significant - 1).split("e");
    return [near.replace(".", ""), Number(exponent)];
  }
  // Python's format "g": plain from 0.0001 on while the digits suffice, else with an exponent.
  function general(value, significant) {
    if (value === 0) return "0";
    const [digits, exponent] = rounded(value, significant);
    const point = (text, at) => `${text.slice(0, at)}.${text.slice(at)}`.replace(/\.?0*$/, "");
    if (exponent < -4 || exponent >= significant) {
      const size = String(Math.abs(exponent)).padStart(2, "0");
      return `${point(digits, 1)}e${exponent < 0 ? "-" : "+"}${size}`;
    }
    return exponent < 0 ? point(`${"0".repeat(-exponent)}${digits}`, 1) : point(digits, exponent + 1);
  }
  const commas = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  function grouped(value) {
    const text = general(value, 10);
    if (text.includes("e")) return text;
    const [whole, decimals] = text.split(".");
    return decimals ? `${commas(whole)}.${decimals}` : commas(whole);
  }
  function whole(value) {
    const floor = Math.floor(value), rest = value - floor;
    const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
    return commas(String(BigInt(floor + up)));
  }
  function withUnit(value, unit) {
    const size = value === 0 ? 1 : Number(value.toPrecision(3));
    const [scale, prefix] = value === 0 ? [1, ""] : PREFIXES.find(([s]) => size >= s) ?? PREFIXES.at(-1);
    return `${general(value / scale, 4)} ${prefix}${unit}`;
  }

  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  function number(input, label) {
    const text = input.value.trim();
    let fault = "";
    if (text === "") fault = `${label} is empty: type a number.`;
    else if (!NUMBER.test(text) || !Number.isFinite(Number(text)))
      fault = `${label} is not a number here: use a point for decimals, and no commas or units.`;
    else if (input.name === "pue" && Number(text) < 1)
      fault = `${label} is the facility's energy over that of its computers, so it is at least one.`;
    else if (input.name === "own" && Number(text) < 0) fault = `${label} must not be below zero.`;
    else if (input.name !== "own" && Number(text) <= 0) fault = `${label} must be above zero.`;
    return [Number(text), fault];
  }

  class Calculator extends HTMLElement {
    connectedCallback() {
      if (this.output) return; // it was only moved
      const { fields } = KINDS[this.localName], id = `gk-calculator-${++count}`;
      this.grids = JSON.parse(this.getAttribute("grids"));
      this.output = make("output", { "aria-live": "polite", id });
      const labeled = (label, control) => {
        control.id = `${id}-${control.name}`;
        return make("div", {}, make("label", { for: control.id }, label), control);
      };
      const field = (name, label) => {
        const value = this.getAttribute(name) ?? "";
        return labeled(label, make("input", { name, value, inputmode: "decimal", autocomplete: "off" }));
      };
      this.select = make("select", { name: "grid", autocomplete: "off" },
        make("option", { value: "" }, "name a grid"),
        ...this.grids.map(([name, g, year], index) =>
          make("option", { value: index }, `${name} ${year}: ${general(g, 6)} gCO2e/kWh`)),
        make("option", { value: "other" }, "other"));
      this.own = field("own", "Its gCO2e per kWh");
      const heading = make("p", { class: "gk-card-title", id: `${id}-title` }, this.getAttribute("heading"));
      this.inputs = make("fieldset", { "aria-labelledby": `${id}-title` },
        ...Object.entries(fields).map(([name, label]) => field(name, label)),
        labeled("Grid", this.select), this.own);
      this.inputs.addEventListener("input", () => this.show());
      this.replaceChildren(heading, this.inputs, this.output);
      this.show();
    }

    show() {
      this.own.hidden = this.select.value !== "other";
      const values = {}, faults = {};
      for (const input of this.inputs.querySelectorAll("input")) {
        if (input.parentElement.hidden) continue;
        const [value, fault] = number(input, input.labels[0].textContent);
        values[input.name] = value;
        if (fault) faults[input.name] = make("span", { class: "gk-fault" }, fault);
        input.setAttribute("aria-invalid", Boolean(fault));
      }
      const { wh, formula } = KINDS[this.localName], energy = wh(values), { own, ...others } = faults;
      if (!Object.keys(others).length && !Number.isFinite(energy * (values.own || 1)))
        others.size = make("span", { class: "gk-fault" }, "Together these numbers are too large to multiply.");
      this.output.replaceChildren(...(Object.keys(others).length
        ? Object.values(faults).concat(others.size ?? [])
        : [this.energy(energy, formula(values), values.pue), own ?? this.carbon(energy, values.own)]));
    }

    energy(wh, formula, pue) {
      const kwh = wh >= 1e6 ? whole(wh / 1000) : general(wh / 1000, 4);
      const how = `(computed from your inputs: ${formula} × PUE ${general(pue, 6)} = ${kwh} kWh)`;
      return this.line(withUnit(wh, "Wh"), how);
    }

    carbon(wh, own) {
      const choice = this.select.value;
      if (choice === "") return make("span", {}, "Name a grid to see its carbon.");
      const [name, g, year] = choice === "other" ? ["your own figure", own, ""] : this.grids[choice];
      const place = `${name} ${year}`.trim();
      const perWh = g / 1000, tonnes = wh * perWh >= 1e6;
      const shown = tonnes ? withUnit(wh * (perWh * (1 / 1e6)), "tCO2e") : withUnit(wh * perWh, "gCO2e");
      const source = choice === "other" ? "" : `; ${this.getAttribute("source")}`;
      const grid = `${general(g, 6)} gCO2e/kWh (${place}, grid uncertainty not included)`;
      return this.line(shown, `(computed from your inputs: this energy × ${grid}${source})`);
    }

    line(value, how) {
      const badge = make("span", { class: "gk-badge gk-published" }, "published");
      return make("span", {}, make("strong", {}, value), " ", badge, " ", how);
    }
  }
  for (const name of Object.keys(KINDS)) customElements.define(name, class extends Calculator {});
});
