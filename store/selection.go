package store

// Selection names instances of one study. An empty SeriesInstanceUID and no
// SOPInstanceUIDs mean all below the level above.
type Selection struct {
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPInstanceUIDs   []string
}
