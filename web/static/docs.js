// The documentation page: Swagger UI on the document that this very server gives.
window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({ dom_id: "#docs", url: "openapi.json", deepLinking: true });
});
