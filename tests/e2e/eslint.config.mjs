// Lints of the console and of what is written in JavaScript elsewhere. Run from the root of the repository.
import js from "@eslint/js";
import globals from "globals";

const strict = {
  ...js.configs.recommended.rules,
  "consistent-return": "error",
  curly: "error",
  eqeqeq: "error",
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-restricted-properties": [
    "error",
    // Text of others never becomes markup.
    ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property })),
    { object: "document", property: "write" },
  ],
  "no-shadow": "error",
  "no-var": "error",
  "prefer-const": "error",
};

export default [
  { ignores: ["public/vendor/**"] },
  { files: ["public/**/*.js"], languageOptions: { globals: globals.browser }, rules: strict },
  {
    files: ["tests/{e2e,contract}/*.mjs", "web/{test,vendor}/*.js"],
    languageOptions: { globals: globals.node },
    rules: strict,
  },
];
