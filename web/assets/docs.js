// The documentation page: Swagger UI on the document that this very server gives.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function follow() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

window.addEventListener("DOMContentLoaded", () => {
  follow();
  dark.addEventListener("change", follow);
  SwaggerUIBundle({ dom_id: "#docs", url: "/openapi.json", deepLinking: true });
});
