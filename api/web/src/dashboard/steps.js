// What stands below the bars and points of a chart: as much of their time as tells them apart.

import { hourOf, moment } from "../shared/words.js";
import { zone as chosen } from "../shared/zone.js";

const STYLES = { minute: "hour", ten_minutes: "hour", hour: "hour", day: "day", month: "month" };
/** More hours than that are labelled by their midnights. */
const HOURS_MAX = 49;

const isOfUtc = (step) => step === "day" || step === "month";

/** Tells whether steps are of another zone than the page's times. */
export const isElsewhere = (step) => isOfUtc(step) && chosen() !== "UTC";

/** Gives what steps are called, by when they begin (ISO) and how long they are; days and months are UTC's. `titleOf(place)`: in full, which few are. */
export function labelled(begins, step) {
  const zone = isOfUtc(step) ? "UTC" : chosen();
  const showsAll = step === "hour" && begins.length > HOURS_MAX;
  const label = (iso) => (showsAll ? (hourOf(iso, zone) ? "" : moment(iso, "weekday", zone)) : moment(iso, STYLES[step], zone));
  const titles = { day: "date", month: "months" };
  const dayOf = (iso) => moment(iso, "day", zone);
  // Hours of one day need no date; labels of all midnights and of days are dates.
  const isDated = STYLES[step] === "hour" && !showsAll && dayOf(begins[0]) !== dayOf(begins.at(-1));
  return { labels: begins.map(label), titleOf: (place) => moment(begins[place], titles[step] ?? "short", zone), showsAll, dates: isDated ? begins.map(dayOf) : null };
}
