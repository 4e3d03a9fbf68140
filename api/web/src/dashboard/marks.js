// Deployments and notes: a line in each chart over time, with its name in the legend and in the tip of its step.

import { h } from "../shared/dom.js";
import { moment, t } from "../shared/words.js";

/** In a legend: the newest. */
const NAMED = 3;
let marks = [];

/** Gives a panel's `load` that has the marks of its time as well: without them a chart is whole. */
export const withMarks = (load, find) => async (now, signal) => {
  const [answer, found] = await Promise.all([load(now, signal), find(now, signal).catch(() => null)]);
  marks = found?.markers ?? [];
  return answer;
};

export const nameOf = ({ service, text }) => [service, text].filter(Boolean).join(" ");
const said = (mark) => `▲ ${nameOf(mark)}, ${moment(mark.time, "short")}`;

/** Gives where marks stand among steps, each [begin, end] in ISO: {at: number of the step and part of it, mark}. */
export function placed(spans) {
  const steps = spans.map(([from, to]) => [Date.parse(from), Date.parse(to)]);
  return marks.flatMap((mark) => {
    const time = Date.parse(mark.time);
    const step = steps.findIndex(([from, to]) => from <= time && time < to);
    return step < 0 ? [] : [{ at: step + (time - steps[step][0]) / (steps[step][1] - steps[step][0]), mark }];
  });
}

/** Gives the lines of a tip about a step: the marks that lie in it. */
export const tipOf = (all, step) => all.filter(({ at }) => Math.floor(at) === step).map(({ mark }) => said(mark));

/** Gives the marks as parts of a legend, and how many more there are. */
export function legendOf(all) {
  const shown = all.slice(-NAMED).map(({ mark }) => h("li", { class: "mark" }, said(mark)));
  return all.length > NAMED ? [h("li", null, t("marks-more", { n: all.length - NAMED })), ...shown] : shown;
}

const widthOf = (x) => (x.ticks.length && x.getLabels().length > 1 ? x.getPixelForValue(1) - x.getPixelForValue(0) : x.width);

/** A plugin of Chart.js that shades the steps that are not whole: `options.plugins.inPart` has `places` and `colour`. */
export const IN_PART = {
  id: "inPart",
  beforeDatasetsDraw({ ctx, chartArea: { left, right, top, bottom }, scales: { x } }, _, { places, colour }) {
    if (!places?.length) return;
    const half = widthOf(x) / 2;
    ctx.save();
    ctx.fillStyle = colour;
    for (const place of places) {
      const from = Math.max(left, x.getPixelForValue(place) - half);
      ctx.fillRect(from, top, Math.min(right, x.getPixelForValue(place) + half) - from, bottom - top);
    }
    ctx.restore();
  },
};

/** A plugin of Chart.js that draws them: `options.plugins.marks` has `all` and `colour`. */
export const MARKS = {
  id: "marks",
  afterDatasetsDraw({ ctx, chartArea: { top, bottom }, scales: { x } }, _, { all, colour }) {
    if (!all?.length) return;
    const width = widthOf(x);
    // Bars stand in the middle of their step, points of a line on its begin.
    const shift = x.options.offset ? width / 2 : 0;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.setLineDash([3, 3]);
    for (const { at } of all) {
      // In the middle of a pixel: between two, each would get half of the line's colour.
      const left = Math.floor(x.getPixelForValue(Math.floor(at)) - shift + (at % 1) * width) + 0.5;
      ctx.beginPath();
      ctx.moveTo(left, top);
      ctx.lineTo(left, bottom);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(left - 4, bottom);
      ctx.lineTo(left + 4, bottom);
      ctx.lineTo(left, bottom - 7);
      ctx.fill();
    }
    ctx.restore();
  },
};
