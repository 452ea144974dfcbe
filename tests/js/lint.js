// Prints what Redocly's linter finds in an OpenAPI document, one finding a line; nothing where it finds nothing.
//
//     node lint.js doc/openapi.yaml
'use strict';
const { createConfig, lint } = require('@redocly/openapi-core');

const RULES = {
  'info-license': 'off', // the program names none
};

async function main(file) {
  const config = await createConfig({ extends: ['recommended-strict'], rules: RULES });
  const problems = await lint({ ref: file, config });
  for (const problem of problems) {
    const { pointer = '', source } = problem.location[0];
    console.log(`${problem.severity} ${problem.ruleId}: ${problem.message} (${pointer || source.absoluteRef})`);
  }
}

main(process.argv[2]);
