// The charts; `scripts/vendor.sh` makes public/vendor/uplot.js of it.
export { default } from "uplot";
