// Which line stands for which series: its name, its colour, its dashes?
import { grouped } from "./chart_math.js";

/**
 * Groups of charts for a Board, of one job: a colour for each name, dashes for older attempts.
 * `by` is "kind", "series" or "group".
 */
export function linesOfJob(tracks, by) {
  const newest = tracks.reduce((most, { attempt }) => Math.max(most, attempt), 0);
  return told(grouped(tracks, by), (group) => {
    const names = unique(group, nameIn(group));
    const many = new Set(group.map(({ attempt }) => attempt)).size > 1;
    return (track) => {
      const name = nameIn(group)(track);
      const words = [names.length > 1 || !many ? name : "", many ? `attempt ${track.attempt}` : ""];
      return { label: words.filter(Boolean).join(", "), colour: names.indexOf(name), dash: newest - track.attempt };
    };
  });
}

/** The same of several jobs over one another: a colour for each job, dashes for each name in a chart. */
export function linesOfJobs(tracks, by, jobs) {
  return told(grouped(tracks, by), (group) => {
    const names = unique(group, nameIn(group));
    return (track) => {
      const { label, colour } = jobs.get(track.job);
      const name = nameIn(group)(track);
      return { label: names.length > 1 ? `${label}: ${name}` : label, colour, dash: names.indexOf(name) };
    };
  });
}

/** The name of a track, with its source where two sources tell the same name. */
function nameIn(group) {
  const sources = new Map();
  for (const { name, source } of group) sources.set(name, (sources.get(name) ?? new Set()).add(source));
  return ({ name, source }) => (sources.get(name).size > 1 ? `${name} (${source})` : name);
}

const unique = (group, name) => [...new Set(group.map(name))];

function told(groups, lineIn) {
  return groups.map(({ name, charts }) => ({
    name,
    title: name || (groups.length > 1 ? "Metrics" : null),
    charts: charts.map((chart) => {
      const line = lineIn(chart.tracks);
      return { name: chart.name, title: chart.name, lines: chart.tracks.map((track) => ({ track, ...line(track) })) };
    }),
  }));
}
