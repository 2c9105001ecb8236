// How the suites of this folder are run: the cases that the command line names, or all, as one JSON object.

export async function runCases(cases, argumentOf, version) {
  const seen = { sdk: { version } };
  const names = process.argv.slice(2);
  for (const name of names.length > 0 ? names : Object.keys(cases)) {
    try {
      seen[name] = await cases[name](argumentOf(name));
    } catch (error) {
      seen[name] = { crashed: error.stack };
    }
  }
  console.log(JSON.stringify(seen));
}

// What directs the replay provider; an application of yours sends none.
export function replay(directions) {
  const headers = {};
  for (const [name, value] of Object.entries(directions)) headers[`x-replay-${name.replaceAll('_', '-')}`] = `${value}`;
  return { headers };
}
