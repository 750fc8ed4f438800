// The page of a pipeline's evaluations: what comes first, and what follows from a choice.

const report = embedded("data");
byId("pipeline").textContent = report.pipeline;
