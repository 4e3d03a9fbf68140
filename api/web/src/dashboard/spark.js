// A sparkline: how often, over the time of the period, as a small drawing. Steps that are not whole are shaded, as in charts.

import { svg } from "../shared/dom.js";

const WIDTH = 96;
const HEIGHT = 24;

export function spark(values, inPart) {
  const top = Math.max(1, ...values);
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map((value, place) => `${(place * step).toFixed(1)},${(HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1)}`);
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    ...inPart.map((place) => svg("rect", { x: (place - 0.5) * step, width: step, height: HEIGHT })),
    svg("polygon", { points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` }),
    svg("polyline", { points: points.join(" ") }));
}
