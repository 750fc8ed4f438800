// The rows of an evaluation: unpacked when they are needed, filtered, and shown.
