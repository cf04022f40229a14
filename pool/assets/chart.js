// Draws the charts of a page: each figure with data-chart names the address of a past (HistoryReport of the API) and the
// span that is shown first. Without this script a page has the same figures as a table.
"use strict";

(() => {
  const HEIGHT = 220, REFUSED_HEIGHT = 150;
  // How often a past is read anew; and when shares were told of that are not in it yet, which it has within a minute.
  const FAST_MS = 30000, SLOW_MS = 300000;
  const BEHIND_MS = { "5m": 15000, "1h": 15000, "24h": 30000 };
  const HUES = ["--ill", "--doubtful", "--info", "--well", "--accent", "--muted"];
  const KEPT = "adit-span";
  // From which step between marks a mark is written how, and what stands below where a year, a month or a day begins.
  const DAY = "{YYYY}-{MM}-{DD}";
  const TIMES = [
    [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", `\n${DAY}`, null, `\n${DAY}`, null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", `\n${DAY}`, null, `\n${DAY}`, null, null, null, 1],
  ];
  const TIME = { label: "UTC", value: `${DAY} {HH}:{mm}` };

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const utc = (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC");
  const count = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");

  // Three figures, and the letter of a unit.
  function short(value) {
    const letters = ["", "k", "M", "G", "T", "P", "E", "Z"];
    let at = 0;
    for (; value >= 999.5 && at + 1 < letters.length; at++) value /= 1000;
    const decimals = value === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return `${value.toFixed(decimals)}\u00a0${letters[at]}`;
  }

  const hashes = (value) => (value == null ? "–" : `${short(value)}H/s`);

  // A colour of the stylesheet, let through.
  function faint(colour, part) {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = colour;
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(context.fillStyle.slice(at, at + 2), 16));
    return `rgb(${red} ${green} ${blue} / ${part})`;
  }

  function axes(values) {
    const [stroke, line] = [css("--muted"), css("--line")];
    const font = "12px system-ui, sans-serif";
    const common = { stroke, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    return [{ ...common, values: TIMES, space: 80 }, { ...common, size: 76, values: (_, splits) => splits.map((value) => (value == null ? "" : values(value))) }];
  }

  function options(figure, height, series, values, more) {
    const cursor = { drag: { x: false, y: false }, points: { size: 7 } };
    return { width: width(figure), height, tzDate: utc, cursor, axes: axes(values), series, ...more };
  }

  function width(figure) {
    return Math.max(240, Math.floor(figure.querySelector("[data-plot]").clientWidth));
  }

  // The middle of each stretch.
  function times(report) {
    return report.points.map((point) => point.at_ms / 1000 + report.step_seconds / 2);
  }

  // From the begin of the first stretch to the end of the last.
  function whole(report) {
    const [begin, end] = [report.points[0], report.points.at(-1)].map((point) => (point ? point.at_ms / 1000 : 0));
    return { time: true, range: () => [begin, end + report.step_seconds] };
  }

  function drawRate(figure, place, report) {
    const points = report.points;
    place.hidden = points.length === 0;
    if (place.hidden) return null;
    const data = [times(report), points.map((p) => p.high), points.map((p) => p.low), points.map((p) => p.hash_rate)];
    const accent = css("--accent");
    const show = points.length < 2;
    const edge = (label) => ({ label, stroke: faint(accent, 0.25), width: 1, points: { show: false }, value: (_, value) => hashes(value) });
    const rate = { label: "Hash rate", stroke: accent, width: 2, points: { show, size: 5 }, value: (_, value) => hashes(value) };
    const bands = [{ series: [1, 2], fill: faint(accent, 0.18) }];
    const range = (_, least, most) => [0, most > 0 ? most * 1.08 : 1];
    const series = [TIME, edge("at most"), edge("at least"), rate];
    return new uPlot(options(figure, HEIGHT, series, hashes, { bands, scales: { x: whole(report), y: { range } } }), data, place);
  }

  // Bars on top of each other, one colour for each code; the tallest are drawn first.
  function drawRefused(figure, place, report) {
    const sums = new Map();
    for (const point of report.points) {
      for (const [code, refused] of Object.entries(point.refused)) sums.set(code, (sums.get(code) || 0) + refused);
    }
    const codes = [...sums.keys()].sort((one, other) => sums.get(other) - sums.get(one) || (one < other ? -1 : 1));
    place.hidden = codes.length === 0;
    figure.querySelector("[data-refused]").hidden = place.hidden;
    if (place.hidden) return null;
    let below = report.points.map(() => 0);
    const stacks = codes.map((code) => (below = below.map((sum, at) => sum + (report.points[at].refused[code] || 0))));
    const bars = uPlot.paths.bars({ size: [0.8, 40, 1] });
    const series = codes.map((code, at) => {
      const hue = css(HUES[at % HUES.length]);
      const value = (_, __, ___, place) => (place == null ? "–" : count(report.points[place].refused[code] || 0));
      return { label: code, stroke: hue, fill: hue, width: 0, paths: bars, points: { show: false }, value };
    });
    const data = [times(report), ...stacks.reverse()];
    const range = (_, least, most) => [0, Math.max(1, most)];
    const all = [TIME, ...series.reverse()];
    const marks = (value) => (Number.isInteger(value) ? count(value) : "");
    const scales = { x: whole(report), y: { range } };
    return new uPlot(options(figure, REFUSED_HEIGHT, all, marks, { scales }), data, place);
  }

  function tell(figure, report) {
    const { whole, points } = report;
    const refused = points.flatMap((point) => Object.values(point.refused)).reduce((sum, one) => sum + one, 0);
    const band = whole.low == null ? "" : `, in 19 cases of 20 between ${hashes(whole.low)} and ${hashes(whole.high)}`;
    const best = Math.max(0, ...points.map((point) => point.best_difficulty || 0));
    const told = `${hashes(whole.hash_rate)}${band}; ${count(whole.shares)} shares accepted, ${count(refused)} refused` +
      (best > 0 ? `; best share of difficulty ${short(best)}` : "");
    figure.querySelector("[data-told]").textContent = told;
    for (const plot of figure.querySelectorAll("[data-plot]")) plot.setAttribute("aria-label", `${plot.dataset.label}: ${told}`);
  }

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plots = [];
      this.asked = 0;
      // When the newest share came that was told of.
      this.heard = 0;
      this.buttons = [...figure.querySelectorAll("[data-span]")];
      const kept = sessionStorage.getItem(KEPT);
      this.span = this.buttons.some((button) => button.dataset.span === kept) ? kept : figure.dataset.span;
      for (const button of this.buttons) {
        button.addEventListener("click", () => {
          sessionStorage.setItem(KEPT, button.dataset.span);
          this.show(button.dataset.span);
        });
      }
      figure.querySelector("[data-spans]").hidden = false;
      new ResizeObserver(() => this.resize()).observe(figure);
    }

    async show(span) {
      this.span = span;
      for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.span === span));
      clearTimeout(this.timer);
      this.asked = Date.now();
      try {
        if (!document.hidden) await this.load(span);
      } catch {
        this.figure.querySelector("[data-told]").textContent = "The pool does not answer.";
      }
      if (this.span !== span) return;
      this.schedule();
    }

    // Shows the past again when it is time, counted from the last.
    schedule() {
      clearTimeout(this.timer);
      const usual = this.span === "5m" || this.span === "1h" ? FAST_MS : SLOW_MS;
      const isBehind = this.heard > (this.report ? this.report.to_ms : 0);
      const pause = (isBehind && BEHIND_MS[this.span]) || usual;
      this.timer = setTimeout(() => this.show(this.span), Math.max(0, this.asked + pause - Date.now()));
    }

    hear(at) {
      this.heard = Math.max(this.heard, at);
      this.schedule();
    }

    async load(span) {
      const url = new URL(this.figure.dataset.chart, location.href);
      url.searchParams.set("span", span);
      const answer = await fetch(url, { credentials: "same-origin", headers: { accept: "application/json" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const report = await answer.json();
      // Somebody may have chosen another one meanwhile.
      if (this.span !== span) return;
      this.report = report;
      this.draw();
    }

    draw() {
      if (!this.report) return;
      for (const plot of this.plots) plot.destroy();
      const [rate, refused] = ["rate", "refused"].map((name) => this.figure.querySelector(`[data-plot="${name}"]`));
      this.plots = [drawRate(this.figure, rate, this.report), drawRefused(this.figure, refused, this.report)].filter(Boolean);
      tell(this.figure, this.report);
    }

    resize() {
      const now = width(this.figure);
      for (const plot of this.plots) if (plot.width !== now) plot.setSize({ width: now, height: plot.height });
    }
  }

  const charts = [...document.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure));
  for (const chart of charts) chart.show(chart.span);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.draw()));
  document.addEventListener("adit:shares", (event) => charts.forEach((chart) => chart.hear(event.detail)));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) charts.forEach((chart) => chart.show(chart.span));
  });
})();
